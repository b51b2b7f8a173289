"""Extend the site's build: generated parts, links into the repository, and figures that have a source.

The pages are plain Markdown and also readable in the repository. The build replaces
`<!-- printed by: python docs/generate/NAME.py -->` with the output of that command. For a link such as
`../docker/redis.conf` it adds a page with the file's text. CHANGELOG.md, CONTRIBUTING.md and others become
pages. The build fails if a figure has no source; docs/generate/measured.py says what counts as one.
"""

from __future__ import annotations

import importlib
import posixpath
import re
import sys
from pathlib import Path
from types import ModuleType

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
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


def _script(name: str) -> ModuleType:
    """Import docs/generate/NAME.py. MkDocs restores sys.path once it has loaded this file."""
    if str(HERE) not in sys.path:
        sys.path.insert(0, str(HERE))
    return importlib.import_module(name)


measured = _script("measured")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not files in docs/, and check the figures of all pages."""
    wrong = [
        f"{page.relative_to(ROOT)}: {line}"
        for page in measured.pages()
        for line in measured.complaints(page.read_text(encoding="utf-8"))
    ]
    if wrong:
        raise PluginError("\n".join(["figures without a source, see docs/generate/measured.py:", *wrong]))
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
    """Insert the output of scripts, point links to pages, and remove the sources of figures."""
    here = page.file.src_uri
    if here.startswith("repository/"):
        return markdown

    def link(found: re.Match[str]) -> str:
        return posixpath.relpath(_page_of(_in_repository(here, found[1])), posixpath.dirname(here) or ".")

    markdown = measured.without_marks(_LINK.sub(link, markdown))
    return _PRINTED.sub(lambda found: printed_by(found[1]), markdown)


def printed_by(script: str) -> str:
    """Return the output of `python docs/generate/SCRIPT.py`."""
    text: str = _script(script).markdown()
    return text


def _in_repository(page: str, target: str) -> str:
    """Return the path in the repository that a page's link points to."""
    root_file = next((name for name, shown in PAGES.items() if shown == page and page != "index.md"), None)
    folder = posixpath.dirname(root_file if root_file else f"docs/{page}")
    return posixpath.normpath(posixpath.join(folder, target))


def _page_of(path: str) -> str:
    """Return the page or other file of the site that shows a file of the repository."""
    if path in PAGES:
        return PAGES[path]
    if path.startswith("docs/") and not path.startswith("docs/generate/"):
        return path.removeprefix("docs/")
    return f"repository/{path}.md" if (ROOT / path).exists() else path


def _text_of(path: str) -> str:
    """Return a file of the repository as a page; for a folder, a list of its files."""
    file = ROOT / path
    if file.is_dir():
        names = sorted(inner.name for inner in file.iterdir() if inner.name != "__pycache__")
        return _NOT_SEARCHED + "\n".join([f"# {path}/", "", *(f"- `{name}`" for name in names)])
    language = _LANGUAGES.get(file.suffix, "text")
    text = file.read_text(encoding="utf-8")
    return f"{_NOT_SEARCHED}# {path}\n\n````{language}\n{text}\n````\n"
