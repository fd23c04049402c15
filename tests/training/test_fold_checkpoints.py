import numpy as np

from training.fold_checkpoints import FoldCheckpoints


def test_a_fold_is_predicted_only_by_checkpoints_that_left_it_out():
    checkpoints = FoldCheckpoints(((0, "a"), (1, "b"), (1, "c")), out_of_fold=True)
    fold = np.array([0, 1, 2, 1], np.int8)
    predicted = {tuple(rows.tolist()): nets for rows, nets in checkpoints.of_rows(fold)}
    assert predicted == {(0,): ["a"], (1, 3): ["b", "c"]}
    learnt_from = {tuple(rows.tolist()): nets for rows, nets in checkpoints.of_rows(fold, others=True)}
    assert learnt_from == predicted | {(2,): ["a", "b", "c"]}
    everyone = list(FoldCheckpoints(checkpoints.nets, out_of_fold=False).of_rows(fold))
    assert [(rows.tolist(), nets) for rows, nets in everyone] == [([0, 1, 2, 3], ["a", "b", "c"])]
