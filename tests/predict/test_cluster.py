import warnings

import pytest

from glacierseg.errors import RequestError
from glacierseg.predict.cluster import connected


def test_wrong_requests_are_one_clear_line() -> None:
    with pytest.raises(RequestError, match="choose one"), connected("tcp://127.0.0.1:1", 2):
        pass
    with pytest.raises(RequestError, match="nonsense: no Dask scheduler"), connected("nonsense", None):
        pass


def test_without_a_request_there_is_no_cluster() -> None:
    with connected(None, None) as client:
        assert client is None


def test_two_commands_may_have_workers_of_their_own_at_once() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with connected(None, 1) as one, connected(None, 1) as other:
            assert one.scheduler.address != other.scheduler.address
