"""docs/design.md shows the packages and layers of the contracts that `make lint` checks."""

import re
import tomllib
from pathlib import Path

HOUSE = Path(__file__).resolve().parents[2]
DESIGN = (HOUSE / "docs" / "design.md").read_text(encoding="utf-8")


def layers(package: str) -> list[list[str]]:
    """Returns the names in each layer of a package, the lowest first."""
    settings = tomllib.loads((HOUSE / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = (
        contract
        for contract in settings["tool"]["importlinter"]["contracts"]
        if contract.get("containers") == [package]
    )
    return [re.split(r"\s*[:|]\s*", layer) for layer in reversed(contract["layers"])]


def test_the_layers_of_the_edge_are_those_of_the_contract() -> None:
    (block,) = re.findall(r"^edge/catsdogs_edge/\n(.*?)^\n", DESIGN, re.DOTALL | re.MULTILINE)
    found = {name: int(layer) for name, layer in re.findall(r"^  (\w+)(?:/|\.py) .* (\d)$", block, re.MULTILINE)}
    assert found == {name: layer for layer, names in enumerate(layers("catsdogs_edge"), 1) for name in names}


def test_each_module_of_the_workstation_is_shown_and_no_other() -> None:
    for part in ("train", "export"):
        (block,) = re.findall(rf"^{part}/catsdogs_{part}/\n(.*?)^(?:\n|```)", DESIGN, re.DOTALL | re.MULTILINE)
        entries = re.findall(r"^  ((?:[\w.]+/?(?: \(.*?\))?(?:, )?)+)", block, re.MULTILINE)
        found = {name for line in entries for name in re.findall(r"(\w+)(?:\.py|/)?(?: \(.*?\))?(?:, |$)", line)}
        assert found == {name for names in layers(f"catsdogs_{part}") for name in names}
