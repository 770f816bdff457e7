"""Draws the image of a training's report in docs/tutorials/two-cats.md, of a run on drawings.

Needs the extras `docs` and `test-web`, and a Chromium: make pipeline, then
python scripts/draw_report.py build/pipeline/run
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer
from markdown_it import MarkdownIt
from playwright.sync_api import sync_playwright

_OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "report.png"
_STYLE = """
body { font: 16px/1.5 sans-serif; color: #1a1a1a; max-width: 860px; margin: 24px auto; padding: 0 24px }
h1, h2 { line-height: 1.2; border-bottom: 1px solid #d8d8d8; padding-bottom: 6px }
table { border-collapse: collapse } td, th { border: 1px solid #d8d8d8; padding: 4px 12px; text-align: left }
code { background: #f2f2f2; padding: 1px 4px } img { max-width: 100% }
"""


def main(
    run: Annotated[Path, typer.Argument(help="Run folder of a training on drawings: its report is shown.")],
    height: Annotated[int, typer.Option(help="Pixels of the report that are shown.")] = 1170,
) -> None:
    """Write docs/images/report.png."""
    text = (run / "report.md").read_text(encoding="utf-8")
    page = run / "report.html"
    page.write_text(f"<style>{_STYLE}</style>{MarkdownIt().enable('table').render(text)}", encoding="utf-8")
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            view = browser.new_page(viewport={"width": 960, "height": height})
            view.goto(page.resolve().as_uri())
            view.screenshot(path=_OUT)
            browser.close()
    finally:
        page.unlink()


if __name__ == "__main__":
    typer.run(main)
