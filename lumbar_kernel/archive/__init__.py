"""Archives of studies graded on a Ray cluster: index, shards, results as Parquet."""
