"""REC-MARL: agents coupled by their neighbours' rewards alone, after Liu, Wei and Ying."""

from nigt_jax.related.rec_marl.system import RecMarlAccess, RecMarlPower

__all__ = ["RecMarlAccess", "RecMarlPower"]
