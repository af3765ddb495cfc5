from realm.answers import get_answers
from realm.answers.vote import majority


def test_the_most_frequent_answer_wins_and_the_earlier_of_equals():
    same = get_answers("number").same
    assert majority([7, "8", "7.0", 8, 7], same) == 7
    assert majority([9, 8, 8, 9], same) == 9


def test_who_says_nothing_has_no_vote():
    same = get_answers("text").same
    assert majority([None, None, "a"], same) == "a"
    assert majority([None, None], same) is None
    assert majority([], same) is None
