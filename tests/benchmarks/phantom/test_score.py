import json
import sys

from benchmarks.phantom import score
from lumbar_kernel.results.metric import PARTS


def test_a_score_is_measured_as_asked_printed_and_written(tmp_path, monkeypatch, capsys):
    asked = {}

    def phantom_score(_, **options):
        asked.update(options)
        return {
            "score": dict.fromkeys(PARTS, 0.25),
            "interval": dict.fromkeys(PARTS, (0.2, 0.3125)),
            "prior": dict.fromkeys(PARTS, 0.75),
            "seconds_per_study": 1.25,
            "studies": 3,
        }

    monkeypatch.setattr(score, "phantom_score", phantom_score)
    file = tmp_path / "score.json"
    words = ["--studies", "3", "--seed", "7", "--reader-noise", "1", "--json", str(file)]
    monkeypatch.setattr(sys, "argv", ["score", *words])
    score.main()
    assert asked == {"studies": 3, "seed": 7, "reader_noise": 1.0}
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "| 3 phantom studies | kernel (95 % interval) | prior |"
    assert said[2 : 2 + len(PARTS)] == [f"| {name} | 0.250 (0.200 to 0.312) | 0.750 |" for name in PARTS]
    assert said[-1].startswith("1.2 s per study")
    assert json.loads(file.read_text())["interval"]["mean"] == [0.2, 0.3125]
