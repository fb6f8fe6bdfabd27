from ._answer import Answer, Choice, answer
from ._arrivals import play_arrivals, play_on
from ._compare import Comparison, compare
from ._evidence import Sureness, how_sure, source_of_evidence
from ._figures import Figures
from ._noise import batch_needed, direction_noise
from ._save import to_json
from ._theory import Bounds, malenia_bounds, rennala_bounds
from ._timeline import Bar, Timeline, make_timeline

__all__ = [
    "Answer",
    "Bar",
    "Bounds",
    "Choice",
    "Comparison",
    "Figures",
    "Sureness",
    "Timeline",
    "answer",
    "batch_needed",
    "compare",
    "direction_noise",
    "how_sure",
    "make_timeline",
    "malenia_bounds",
    "play_arrivals",
    "play_on",
    "rennala_bounds",
    "source_of_evidence",
    "to_json",
]
