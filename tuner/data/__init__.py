"""Sources → prepared arrays: read, split, fingerprint, cache.

Importing this package is cheap: numpy, pyarrow and pillow are imported only where they are used.
"""

from tuner.data.eviction import entries, evict
from tuner.data.prepare import derive, prepare
from tuner.data.prepared import Part, PartName, PreparedData

__all__ = ["Part", "PartName", "PreparedData", "derive", "entries", "evict", "prepare"]
