"""Pages of the site that lie outside `docs/`: the model card, how to contribute and the changelog.

The Markdown files are read on the code host too, where links lead to the files; on the site they lead to pages.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

OUTSIDE = {
    "weights/README.md": "model-card.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""File of the repository → page of the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the outside files as pages."""
    root = Path(config.config_file_path).parent
    for source, page in OUTSIDE.items():
        files.append(
            File.generated(config, page, content=_on_site((root / source).read_text(encoding="utf-8"), source))
        )
    return files


def on_page_markdown(markdown: str, **_: object) -> str:
    """Let links to outside files lead to their pages."""
    for source, page in OUTSIDE.items():
        markdown = markdown.replace(f"](../{source}", f"]({page}")
    return markdown


def _on_site(text: str, source: str) -> str:
    """The text of an outside file with links as seen from `docs/`."""
    up = "../" if "/" in source else ""
    for other, page in OUTSIDE.items():
        text = text.replace(f"]({up}{other}", f"]({page}")
    return text.replace(f"]({up}docs/", "](")
