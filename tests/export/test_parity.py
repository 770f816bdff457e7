from catsdogs_export.parity import _agreement_limit, _allowed


def test_a_limit_that_so_few_images_cannot_prove_is_not_printed_as_one() -> None:
    assert _agreement_limit(10) == "10 images are too few to prove 99%, which takes 100: one may differ"
    assert _allowed(10) == 1
    assert _agreement_limit(400) == "limit 99%"
    assert _allowed(400) == 4
