module togather/bench/traffic

go 1.24
