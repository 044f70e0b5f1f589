"""Bring pages that live beside the code into the documentation site.

The model card lies with the model, the changelog at the root, the schemas with the messages: one
copy each. The page of folders is made from the docstrings. Links from a page to a file that is not
part of the site become plain text.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
PAGES = {"model-card.md": "models/README.md", "changelog.md": "CHANGELOG.md"}
"""Page of the site → file in the repository."""
SCHEMAS = "stream/messages/schemas"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the JSON schemas."""
    from mkdocs.structure.files import File

    for page, source in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=text))
    for schema in sorted((ROOT / SCHEMAS).glob("*.json")):
        files.append(File.generated(config, f"schemas/{schema.name}", abs_src_path=str(schema)))
    files.append(File.generated(config, "reference/folders.md", content=folders()))
    return files


def folders() -> str:
    """Return the tree of modules, each with the first line of its docstring."""
    parts = ["# The folders\n"]
    for top in ("devices", "stream", "models"):
        parts += [f"## {top}\n", f"{_about(ROOT / top / '__init__.py')}\n"]
        parts += ["| | |", "|---|---|"]
        parts += [f"| `{name}` | {about} |" for name, about in _listing(ROOT / top)]
        for room in sorted(path for path in (ROOT / top).iterdir() if _is_room(path)):
            parts += [f"\n### {top}/{room.name}\n", "| | |", "|---|---|"]
            parts += [f"| `{name}` | {about} |" for name, about in _listing(room)]
        parts.append("")
    return "\n".join(parts)


def _is_room(path: Path) -> bool:
    return path.is_dir() and (path / "__init__.py").is_file()


def _listing(folder: Path) -> list[tuple[str, str]]:
    """Return the rooms and modules of a folder with what each is for."""
    rooms = [(f"{p.name}/", _about(p / "__init__.py")) for p in folder.iterdir() if _is_room(p)]
    modules = [(p.name, _about(p)) for p in folder.glob("*.py") if p.name != "__init__.py"]
    return [*sorted(rooms), *sorted(modules)]


def _about(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("|", "\\|")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at the site's own copies; drop those that lead out of the site."""
    here = Path(page.file.src_uri).parent
    source = ROOT / PAGES.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    up = "../" * len(here.parts)
    pages = {(ROOT / text).resolve(): name for name, text in PAGES.items()}

    def settle(link: re.Match[str]) -> str:
        text, target, anchor = link[1], link[2], link[3] or ""
        if "://" in target or target.startswith("mailto:"):
            return link[0]
        path = (source.parent / target).resolve()
        if path in pages:
            return f"[{text}]({up}{pages[path]}{anchor})"
        if path.parent == ROOT / SCHEMAS:
            return f"[{text}]({up}schemas/{path.name})"
        if path.is_relative_to(ROOT / "docs"):
            return f"[{text}]({up}{path.relative_to(ROOT / 'docs')}{anchor})"
        return text

    return LINK.sub(settle, markdown)
