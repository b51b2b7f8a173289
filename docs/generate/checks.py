"""Print what `sadp-dist doctor` looks at, and how to mend each: python docs/generate/checks.py"""

from sadp_dist.doctor import CHECKS


def markdown() -> str:
    """What packages are for is a table; of anything else more is to be said."""
    packages = ["| package | for | get it |", "| --- | --- | --- |"]
    others = []
    for check in CHECKS:
        start = f"The package `{check.name}`: "
        if check.meaning.startswith(start):
            purpose = check.meaning.removeprefix(start).rstrip(".")
            packages.append(f"| {check.name} | {purpose} | {check.mending} |")
        else:
            others += [f"### {check.name}", "", check.meaning, "", f"**Mend it:** {check.mending}", ""]
    return "\n".join([*others, "### Packages", "", *packages])


if __name__ == "__main__":
    print(markdown())
