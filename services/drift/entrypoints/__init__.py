"""Where the outside comes in: records of `models`, for the judge. Facts come by `libs.common.partitions`."""
