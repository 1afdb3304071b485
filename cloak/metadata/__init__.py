"""Metadata of photos: read with limits, filtered by a policy, written back.

``read_metadata`` -> ``apply_policy`` -> ``save_options`` (and ``left_out``) -> Pillow -> ``finish``.
"""

from cloak.metadata.fields import POLICIES, Metadata, Policy, check_policy
from cloak.metadata.hidden import count_scans
from cloak.metadata.policy import apply_policy, note_of
from cloak.metadata.read import read_metadata
from cloak.metadata.write import finish, left_out, save_options

__all__ = [
    "POLICIES",
    "Metadata",
    "Policy",
    "apply_policy",
    "check_policy",
    "count_scans",
    "finish",
    "left_out",
    "note_of",
    "read_metadata",
    "save_options",
]
