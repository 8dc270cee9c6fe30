"""Long work in shards, resumable after a kill at any moment, by processes of this machine or on a Ray cluster."""

from ._carry_out import ENGINES, Report, carry_out, check_engine, work
from .contract import Done, Job, Shard, Worker
from .journal import Journal, Record
from .processes import one_thread

__all__ = [
    "ENGINES",
    "Done",
    "Job",
    "Journal",
    "Record",
    "Report",
    "Shard",
    "Worker",
    "carry_out",
    "check_engine",
    "one_thread",
    "work",
]
