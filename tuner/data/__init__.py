"""Sources → prepared arrays: load, split, fingerprint, cache.

Importing this package costs nothing: numpy, pyarrow and pillow are imported by what needs them.
"""

from tuner.data.eviction import entries, evict
from tuner.data.prepare import derive, prepare
from tuner.data.prepared import Part, PartName, PreparedData

__all__ = ["Part", "PartName", "PreparedData", "derive", "entries", "evict", "prepare"]
