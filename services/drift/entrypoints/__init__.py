"""Where the outside comes in: records of `models`, for the judge. Facts come through `libs.common.partitions`."""
