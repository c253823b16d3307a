module ledgerd/openloop

go 1.20
