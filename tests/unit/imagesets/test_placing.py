import pytest

from syntrial.imagesets.placing import AMBIGUOUS, Places, lies_under, root_of

NAMES = ["images/a/1.png", "images/a/2.png", "images/b/2.png", "more/3.jpg", "4.tar.png"]


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("images/a/1.png", "images/a/1.png"),
        ("./images//a/1.png", "images/a/1.png"),
        ("b/2.png", "images/b/2.png"),
        ("/home/me/set/images/a/2.png", "images/a/2.png"),
        (r"D:\\set\\a\\2.png", "images/a/2.png"),
        ("1.png", "images/a/1.png"),
        ("1", "images/a/1.png"),
        ("3.dcm", "more/3.jpg"),
        ("4.tar", "4.tar.png"),
        ("/set/4.TAR.PNG", "4.tar.png"),
        ("2.PNG", AMBIGUOUS),
        ("2.png", AMBIGUOUS),
        ("2", AMBIGUOUS),
        ("9.png", None),
        ("", None),
        ("..", None),
    ],
)
def test_a_path_means_the_file_of_the_first_rule_that_finds_one(value: str, found: str | None) -> None:
    assert Places(NAMES, roots=["images"]).find(value.replace("\\\\", "\\")) == found


def test_a_path_may_begin_where_its_table_lies() -> None:
    assert Places(NAMES).find("2.png", base="images/b") == "images/b/2.png"


def test_folders_are_meant_by_names_and_by_patterns() -> None:
    assert root_of("images_001/images/1.png", ["images", "images_*"]) == "images_001"
    assert lies_under("images/1.png", ["images"])
    assert lies_under("images.zip", ["images.*"])
    assert not lies_under("images2/1.png", ["images"])
    assert not lies_under("1.png", ["images"])
