import pytest

from realm import errors
from realm.errors import DataError, RealmError


def test_a_secret_of_the_environment_is_masked(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "correct-horse-battery")
    assert str(DataError("sent correct-horse-battery to the server")) == "sent *** to the server"


def test_a_short_value_is_no_secret(monkeypatch):
    monkeypatch.setenv("SORT_KEY", "id")
    assert str(DataError("the id is missing")) == "the id is missing"


@pytest.mark.parametrize("kind", [errors.ConfigError, errors.DataError, errors.ModelError])
def test_a_user_mistake_is_also_a_value_error(kind):
    assert issubclass(kind, RealmError) and issubclass(kind, ValueError)
