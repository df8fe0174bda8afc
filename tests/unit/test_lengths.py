import torch
from hypothesis import given
from hypothesis import strategies as st

from model.training.lengths import by_length

TEXTS = st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=1, max_size=12)


def _rows(texts):
    return torch.tensor([text + [0] * (6 - len(text)) for text in texts])


@given(TEXTS)
def test_what_is_made_in_groups_is_what_is_made_at_once_in_the_order_of_the_texts(texts):
    rows = _rows(texts)
    assert torch.equal(by_length(lambda terms: terms.sum(dim=1), rows), rows.sum(dim=1))


def test_no_group_is_wider_than_its_longest_text():
    texts = [[1] * length for length in (6, 1, 2, 1, 3, 6, 2, 3)]
    shapes = []

    def seen(terms):
        shapes.append(tuple(terms.shape))
        return terms.sum(dim=1)

    by_length(seen, _rows(texts))
    assert shapes == [(2, 1), (2, 2), (2, 3), (2, 6)]


def test_gradients_reach_every_text():
    table = torch.ones(10, requires_grad=True)
    rows = _rows([[1, 2], [3], [4, 5, 6], [7, 8], [9]])
    by_length(lambda terms: (table[terms] * (terms != 0)).sum(dim=1), rows).sum().backward()
    assert table.grad[1:].tolist() == [1.0] * 9
