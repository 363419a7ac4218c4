"""Addresses: what each form means, and that hostile ones are refused with a reason."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syntrial.errors import UserError
from syntrial.sources.addresses import (
    ClaimAddress,
    HubAddress,
    LocalPath,
    S3Address,
    StoredContent,
    is_plain_path,
    last_part,
    parse_address,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("images/train", LocalPath(path=Path("images/train"))),
        ("~/set.npz", LocalPath(path=Path("~/set.npz"))),
        ("/data/a b/ü#1?.npz", LocalPath(path=Path("/data/a b/ü#1?.npz"))),
        ("s3://hospital/chest/2024/", S3Address(bucket="hospital", path="chest/2024")),
        ("s3://hospital", S3Address(bucket="hospital", path="")),
        ("S3://hospital/x", S3Address(bucket="hospital", path="x")),
        ("s3://hospital/a%20b?c#d", S3Address(bucket="hospital", path="a%20b?c#d")),
        ("claim://scans/chest", ClaimAddress(claim="scans", path="chest")),
        ("claim://scans", ClaimAddress(claim="scans", path="")),
        (DIGEST, StoredContent(digest=DIGEST)),
        ("hub://timm/resnet18.a1_in1k", HubAddress(repository="timm/resnet18.a1_in1k")),
        ("hub://a/b@v1.0", HubAddress(repository="a/b", revision="v1.0")),
        ("hub://a/b@v1/c/d.safetensors", HubAddress(repository="a/b", revision="v1", path="c/d.safetensors")),
    ],
)
def test_an_address_means(text: str, meaning: object) -> None:
    assert parse_address(text) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "a\0b",
        "s3://",
        "s3:///path",
        "s3://UPPER/path",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/a/./b",
        "s3://bucket/a\nb",
        "claim://",
        "claim://Name/x",
        "claim://name/../../etc/passwd",
        "claim://a_b/x",
        "sha256:abc",
        DIGEST.upper(),
        "https://example.org/set.npz",
        "file:///data/set.npz",
        "gs://bucket/x",
        "hub://",
        "hub://resnet18",
        "hub://a/",
        "hub://a/-b",
        "hub://a/b@",
        "hub://a/b@refs%2Fpr%2F1",
        "hub://a/b/../c.safetensors",
        "hub://a/b/pytorch_model.bin",
    ],
)
def test_other_forms_are_refused_with_what_to_do(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_address(text, field="spec.dataset")
    (violation,) = caught.value.violations
    assert violation.field == "spec.dataset"
    assert violation.rule
    assert violation.remedy


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        parse_address("s3://someone:hunter2@bucket/path")
    assert "hunter2" not in str(caught.value)


def test_the_last_part_names_what_is_addressed() -> None:
    assert [last_part(parse_address(text)) for text in ("a/b", "s3://bucket/x/y.npz", "s3://bucket", DIGEST)] == [
        "b",
        "y.npz",
        "",
        "",
    ]


@given(st.text())
def test_any_text_is_an_address_or_an_error_of_the_users(text: str) -> None:
    try:
        address = parse_address(text)
    except UserError:
        return
    if isinstance(address, S3Address | ClaimAddress | HubAddress):
        assert address.path == "" or is_plain_path(address.path)
        assert parse_address(str(address)) == address


@given(st.sampled_from(["s3://bucket/", "claim://name/", "hub://a/b/"]), st.text(alphabet="ab./\\\n\0-", max_size=12))
def test_no_path_leads_out_of_its_bucket_or_volume(start: str, path: str) -> None:
    try:
        address = parse_address(start + path)
    except UserError:
        return
    assert isinstance(address, S3Address | ClaimAddress | HubAddress)
    root = Path("/root-of-the-volume")
    assert Path(root, address.path).resolve().is_relative_to(root)
