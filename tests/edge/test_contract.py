import json

import pytest

from catsdogs_edge.contract import KEY, VERSION, Contract, Precision
from catsdogs_edge.errors import ModelError

CONTRACT = Contract(("cat", "dog", "Кот"), 224, Precision.INT8)


def test_a_contract_survives_the_file() -> None:
    assert Contract.from_metadata(CONTRACT.to_metadata(), "m.onnx") == CONTRACT


def altered(**changes: object) -> dict[str, str]:
    return {KEY: json.dumps(json.loads(CONTRACT.to_metadata()[KEY]) | changes)}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "no catsdogs contract"),
        ({KEY: "no json"}, "damaged"),
        ({KEY: "[]"}, "damaged"),
        ({KEY: '{"version": 1}'}, "damaged"),
        (altered(version=VERSION + 1, something="new"), "upgrade catsdogs"),
        (altered(unknown=1), "damaged"),
        (altered(precision="int3"), "damaged"),
        (altered(classes=["cat"]), "1 classes, expected two"),
        (altered(preprocessing={"colour_order": "BGR"}), "not known here"),
    ],
)
def test_what_cannot_be_trusted_is_refused(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Contract.from_metadata(metadata, "m.onnx")
    assert str(caught.value).startswith("m.onnx")
