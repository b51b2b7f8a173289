"""Print the checks of `sadp-dist doctor` and their fixes: python docs/generate/checks.py"""

from sadp_dist.doctor import CHECKS, PACKAGES


def markdown() -> str:
    """Return a section per check, and one table for all packages."""
    packages = {package.name: package for package in PACKAGES}
    rows = ["| check | packages | used for | how to install |", "| --- | --- | --- | --- |"]
    others = []
    for check in CHECKS:
        if check.name in packages:
            package = packages[check.name]
            names = ", ".join(package.parts)
            rows.append(f"| {check.name} | {names} | {package.used_for} | {check.mending} |")
        else:
            others += [f"### {check.name}", "", check.meaning, "", f"**Fix:** {check.mending}", ""]
    return "\n".join([*others, "### Packages", "", *rows])


if __name__ == "__main__":
    print(markdown())
