"""Print what `sadp-dist doctor` looks at, and how to mend each: python docs/generate/checks.py"""

from sadp_dist.doctor import CHECKS, PACKAGES


def markdown() -> str:
    """What packages are for is a table; of anything else more is to be said."""
    packages = {package.name: package for package in PACKAGES}
    rows = ["| check | packages | for | get it |", "| --- | --- | --- | --- |"]
    others = []
    for check in CHECKS:
        if check.name in packages:
            package = packages[check.name]
            names = ", ".join(package.parts)
            rows.append(f"| {check.name} | {names} | {package.used_for} | {check.mending} |")
        else:
            others += [f"### {check.name}", "", check.meaning, "", f"**Mend it:** {check.mending}", ""]
    return "\n".join([*others, "### Packages", "", *rows])


if __name__ == "__main__":
    print(markdown())
