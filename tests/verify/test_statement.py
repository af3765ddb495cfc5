import pytest

from realm.verify.statement import mentions, states


@pytest.mark.parametrize(
    ("sentence", "item", "expected"),
    [
        pytest.param(
            "Ann received 1,470 votes in the election of 2007",
            "1,470",
            True,
            id="a count beside a year",
        ),
        pytest.param(
            "the team played in Division 3 for six seasons",
            "6",
            True,
            id="a count beside a name with a number",
        ),
        pytest.param("3 teams had at least 10 fans", "10", False, id="a bound is no count"),
        pytest.param(
            "4 players who scored 7 goals each", "7", False, id="nor is the number in a condition"
        ),
        pytest.param("Ann won 7 games and Bo won 8", "7", False, id="one of two counts"),
        pytest.param("it took 8 months", "8 years", False, id="another unit"),
        pytest.param("the sum is 4 + 3 = 7 points", "7", True, id="the result of a sum"),
        pytest.param("the gap is 14-15 mm", "15 mm", False, id="a range"),
        pytest.param("the team finished 5th three times", "5th", True, id="a rank beside a count"),
        pytest.param("it first aired on March 4, 2006", "2006-03-04", True, id="a date"),
        pytest.param(
            "they did better in 2004 than in 2005",
            "2004",
            True,
            id="a year and the year it is compared with",
        ),
        pytest.param("Bo scored above 3 goals", "above", True, id="a side"),
        pytest.param("Bo scored more, Ann scored less", "less", False, id="both sides"),
        pytest.param("Ann Lee scored the most goals for Peru", "ann lee", True, id="a subject"),
        pytest.param('the coin has "Maize" on its front', "maize", True, id="an object"),
        pytest.param("Bo is taller than Ann", "ann", False, id="what it is compared with"),
        pytest.param("it is not Ann", "ann", False, id="a denial"),
        pytest.param("Ann and Bo", "ann", False, id="the first of two"),
        pytest.param("Ann or Bo", "bo", False, id="the second of two"),
        pytest.param(
            "the Games in Perth, Australia in 1999", "games", True, id="a place behind it"
        ),
        pytest.param(
            "Women's National League", "national league", False, id="part of a longer name"
        ),
        pytest.param("Ann Lee", "lee", True, id="a person's family name"),
        pytest.param("Iowa State", "iowa", False, id="a longer name of something else"),
        pytest.param("Rocky II", "rocky", False, id="another in a row"),
        pytest.param("University of Peru", "university", False, id="a name that goes on"),
        pytest.param("yesterday", "yes", False, id="yes is not part of a word"),
        pytest.param("", "", False, id="nothing"),
    ],
)
def test_a_sentence_states(sentence, item, expected):
    assert states(sentence, item) is expected


def test_only_the_end_may_state_it():
    assert states("accepts letters before May", "before May", last=True)
    assert not states("accepts letters before May", "accepts letters", last=True)


def test_the_number_of_a_name_counts_where_there_is_no_other():
    assert mentions("episode number 10") == ["10"]
    assert mentions("episode number 10 had 3 guests") == ["3"]
