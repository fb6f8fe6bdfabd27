"""Systems of the same field that have no server, each small and exact, on the same clocks and run folders."""
