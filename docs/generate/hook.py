"""When the site is built: printed parts are put in, and links into the repository lead somewhere.

The pages are plain Markdown that reads well in the repository, too. There, `<!-- printed by: python
docs/generate/NAME.py -->` stands for what that command prints, and a link such as `../docker/redis.conf` for
the file; the site has a page with the file's text. CHANGELOG.md and its like become pages.
"""

from __future__ import annotations

import importlib
import posixpath
import re
import sys
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGES = {
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "code-of-conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "SECURITY.md": "reporting.md",
}
"""Files in the root of the repository -> pages of the site."""

_PRINTED = re.compile(r"<!-- printed by: python docs/generate/(\w+)\.py -->")
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:)([^)\s#]+)(?=[)#])")
_NOT_SEARCHED = "---\nsearch:\n  exclude: true\n---\n\n"
_LANGUAGES = {
    ".py": "python",
    ".sbatch": "bash",
    ".sh": "bash",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".json": "json",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files in docs/."""
    for name, page in PAGES.items():
        if page not in files.src_uris:
            text = (ROOT / name).read_text(encoding="utf-8")
            files.append(File.generated(config, page, content=text))
    for page in list(files.documentation_pages()):
        for target in _LINK.findall(page.content_string):
            path = _in_repository(page.src_uri, target)
            shown = _page_of(path)
            if shown.startswith("repository/") and shown not in files.src_uris:
                files.append(File.generated(config, shown, content=_text_of(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put in what scripts print, and let links lead to pages."""
    here = page.file.src_uri
    if here.startswith("repository/"):
        return markdown

    def link(found: re.Match[str]) -> str:
        return posixpath.relpath(_page_of(_in_repository(here, found[1])), posixpath.dirname(here) or ".")

    return _PRINTED.sub(lambda found: printed_by(found[1]), _LINK.sub(link, markdown))


def printed_by(script: str) -> str:
    """What `python docs/generate/SCRIPT.py` prints."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    text: str = importlib.import_module(script).markdown()
    return text


def _in_repository(page: str, target: str) -> str:
    """Where in the repository a link of a page leads to."""
    root_file = next((name for name, shown in PAGES.items() if shown == page and page != "index.md"), None)
    folder = posixpath.dirname(root_file if root_file else f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, target))


def _page_of(path: str) -> str:
    """The page, or other file of the site, that shows a file of the repository."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"repository/{path}.md" if (ROOT / path).exists() else path


def _text_of(path: str) -> str:
    """A file of the repository as a page; of a folder, the names in it."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(inner.name for inner in file.iterdir() if inner.name != "__pycache__")
        return _NOT_SEARCHED + "\n".join([f"# {path}/", "", *(f"- `{name}`" for name in names)])
    language = _LANGUAGES.get(file.suffix, "text")
    text = file.read_text(encoding="utf-8")
    return f"{_NOT_SEARCHED}# {path}\n\n````{language}\n{text}\n````\n"
