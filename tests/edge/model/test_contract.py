import json

import msgspec
import pytest
from msgspec.structs import replace

from catsdogs_edge.errors import ModelError
from catsdogs_edge.model.contract import CONTRACT_KEY, VERSION, Contract, FamiliarityRule, Precision
from tests.edge import contracts

CONTRACT = replace(
    contracts.CONTRACT, classes=("cat", "dog", "Кот"), precision=Precision.INT8, tools={"onnx": "1"}, temperature=1.5
)


def test_a_contract_survives_the_file() -> None:
    assert Contract.from_metadata(CONTRACT.to_metadata(), "m.onnx") == CONTRACT


def test_the_key_is_for_ever_and_onnx_s_own_keys_are_there() -> None:
    assert CONTRACT.to_metadata() == {
        "catsdogs.contract": CONTRACT.to_json(),
        "Image.BitmapPixelFormat": "Rgb8",
        "Image.ColorSpaceGamma": "SRGB",
        "Image.NominalPixelRange": "NominalRange_0_255",
    }


RULE = msgspec.to_builtins(FamiliarityRule(threshold=0.5, target_recall=0.98, method="any", outliers=7))


def altered(**changes: object) -> dict[str, str]:
    return {CONTRACT_KEY: json.dumps(json.loads(CONTRACT.to_metadata()[CONTRACT_KEY]) | changes)}


def without(name: str) -> dict[str, str]:
    entries = json.loads(CONTRACT.to_json())
    del entries[name]
    return {CONTRACT_KEY: json.dumps(entries)}


def test_a_newer_minor_version_may_say_more() -> None:
    newer = altered(version="1.7", something="new")
    assert replace(Contract.from_metadata(newer, "m.onnx"), version=VERSION) == CONTRACT


def test_the_rule_for_neither_comes_back() -> None:
    with_rule = replace(CONTRACT, familiarity=contracts.FAMILIAR.familiarity)
    assert with_rule.outputs == ("logits", "probabilities", "familiarity")
    assert Contract.from_metadata(with_rule.to_metadata(), "m.onnx") == with_rule


def test_a_contract_from_before_there_was_one_is_read() -> None:
    entries = json.loads(CONTRACT.to_json()) | {"version": "1.0"}
    del entries["familiarity"], entries["familiarity_name"]
    old = Contract.from_metadata({CONTRACT_KEY: json.dumps(entries)}, "m.onnx")
    assert replace(old, version=VERSION) == CONTRACT
    assert old.outputs == ("logits", "probabilities")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({}, "no catsdogs contract"),
        ({CONTRACT_KEY: "no json"}, "damaged"),
        ({CONTRACT_KEY: "[]"}, "damaged"),
        ({CONTRACT_KEY: '{"version": "1.0"}'}, "damaged"),
        (altered(version="2.0", classes=5), "upgrade catsdogs"),
        (altered(version="x"), "damaged"),
        (altered(training=3), "damaged"),
        (altered(precision="int3"), "damaged"),
        (altered(classes=["cat"]), "expected two or more different ones"),
        (altered(classes=["cat", "cat"]), "expected two or more different ones"),
        (altered(classes=["cat", "../dog"]), "can be the name of a folder"),
        (altered(classes=["cat", ".."]), "can be the name of a folder"),
        (altered(temperature=0), "expected a positive number"),
        (altered(temperature=float("nan")), "NaN is no number of JSON"),
        (without("temperature"), "damaged"),
        (without("preprocessing"), "damaged"),
        (altered(familiarity={"threshold": 0.5}), "damaged"),
        (altered(familiarity={}), "damaged"),
        (altered(familiarity=RULE | {"threshold": None}), "damaged"),
        (altered(familiarity=RULE | {"threshold": "x"}), "damaged"),
        (altered(familiarity=RULE | {"threshold": 7}), "expected 0 to 1"),
        (altered(familiarity=RULE, classes=["cat", "Neither"]), "which one is meant"),
        (altered(preprocessing={"colour_order": "BGR"}), "not known here"),
    ],
)
def test_what_cannot_be_trusted_is_refused(metadata: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        Contract.from_metadata(metadata, "m.onnx")
    assert str(caught.value).startswith("m.onnx")
