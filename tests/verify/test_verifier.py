from realm.verify.verifier import Verifier, majorities, majority

TEXTS = Verifier("text")
NUMBERS = Verifier("number")


def test_the_most_frequent_answer_wins_and_the_earlier_of_equals():
    assert majority([7, "8", "7.0", 8, 7], NUMBERS.same) == 7
    assert majority([9, 8, 8, 9], NUMBERS.same) == 9


def test_who_says_nothing_has_no_vote():
    assert majority([None, None, "a"], TEXTS.same) == "a"
    assert majority([None, None], TEXTS.same) is None
    assert majority([], TEXTS.same) is None


def test_many_sets_are_counted_in_as_many_rounds_as_the_longest_takes():
    sets = [[7, "8", "7.0", 8, 7], [None], [9, 8, 8, 9], []]
    rounds = []

    def same_all(pairs):
        rounds.append(len(pairs))
        return NUMBERS.same_all(pairs)

    assert (
        majorities(sets, same_all)
        == [majority(answers, NUMBERS.same) for answers in sets]
        == [7, None, 9, None]
    )
    assert rounds == [2, 4, 4, 2]


def test_answers_that_could_not_be_compared_are_apart():
    assert majority(["a", "b", "b"], lambda a, b: None) == "a"
