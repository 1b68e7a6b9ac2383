module gomemsim/oracle

go 1.19
