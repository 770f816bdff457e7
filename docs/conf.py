"""How Sphinx builds the site (`make docs`): from the documents where they lie, so that links work in both."""

from importlib.metadata import version as version_of

import typer.main
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from catsdogs_edge.cli.overview import COMMANDS

project = "catsdogs"
version = release = version_of("catsdogs")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = [
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "docs/**.md", "benchmarks/RESULTS.md",
    "edge/catsdogs_edge/model/weights/MODEL_CARD.md",
]  # fmt: skip
exclude_patterns = [".*", "env", "build", "demo", "dist", "node_modules"]  # which Sphinx would walk through

myst_heading_anchors = 4
default_role = "literal"  # docstrings put code between single backticks, as Markdown does
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True  # or a path of the machine that builds would stand in it
smartquotes = False  # two hyphens are an option

html_theme = "furo"
html_title = f"catsdogs {release}"
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072b2", "color-brand-content": "#0072b2"},
    "dark_css_variables": {"color-brand-primary": "#56b4e9", "color-brand-content": "#56b4e9"},
}


class CommandDirective(SphinxDirective):
    """What a command does and which options it has, as its `--help` says: `{command} classify`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Returns its usage, what it is for, and its options."""
        name = self.arguments[0]
        command = typer.main.get_command(COMMANDS[name].load())
        context = command.make_context(f"catsdogs-{name}", [], resilient_parsing=True)
        records = (parameter.get_help_record(context) for parameter in command.get_params(context))
        usage = command.get_usage(context)
        options = nodes.definition_list()
        for option, meaning in filter(None, records):
            term, definition = nodes.term("", "", nodes.literal("", option)), nodes.paragraph("", meaning)
            options += nodes.definition_list_item("", term, nodes.definition("", definition))
        about = self.parse_text_to_nodes(command.help or "")
        return [nodes.literal_block(usage, usage, language="text"), *about, options]


def setup(app: Sphinx) -> None:
    """Adds what this site needs beside Sphinx's own."""
    app.add_directive("command", CommandDirective)
