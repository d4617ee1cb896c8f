"""Sources → prepared arrays: load, split, fingerprint, cache.

Importing this package costs nothing: numpy, pyarrow and pillow are imported by what needs them.
"""

from tuner.data.prepare import derive, prepare
from tuner.data.prepared import Part, PartName, Prepared
from tuner.data.uses import entries, evict

__all__ = ["Part", "PartName", "Prepared", "derive", "entries", "evict", "prepare"]
