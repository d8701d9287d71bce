package model

// Setups are the combinations of faults that are explored: short ones, that
// together have every fault and find every mutant, and with full the long ones.
func Setups(full bool) []Setup {
	short := []Setup{
		{Name: "crashes", Messages: 2, Attempts: 2, Budget: Budget{Crashes: 2}},
		{Name: "lost answers", Messages: 1, Attempts: 2, Drains: true, Reruns: true,
			Budget: Budget{Crashes: 1, Lost: 1, Parks: 1}},
		{Name: "failover", Messages: 1, Attempts: 2, Lag: 3, Budget: Budget{Crashes: 1, Failovers: 1, Lost: 1, Parks: 1}},
		{Name: "lost group", Messages: 2, Attempts: 1, Expiry: true, Trims: true, Budget: Budget{Destroys: 1, Parks: 1}},
		{Name: "evicted lock", Messages: 1, Attempts: 2, Drains: true, Expiry: true,
			Budget: Budget{Evictions: 1, Destroys: 1, Lost: 1}},
		{Name: "strangers", Messages: 1, Attempts: 2, Budget: Budget{Strangers: 1, Crashes: 1, Delayed: 1, Parks: 1}},
	}
	if !full {
		return short
	}
	return append(short, long...)
}

var long = []Setup{
	{Name: "lost answers, late requests", Messages: 1, Attempts: 2, Drains: true, Reruns: true,
		Budget: Budget{Crashes: 1, Lost: 1, Parks: 1, Delayed: 1}},
	{Name: "two messages, late requests", Messages: 2, Attempts: 2, Budget: Budget{Crashes: 1, Delayed: 1, Lost: 1}},
	{Name: "two messages, long delay", Messages: 2, Attempts: 2, Budget: Budget{Crashes: 2, Lost: 1, Parks: 1}},
	{Name: "two messages, failover", Messages: 2, Attempts: 2, Lag: 2, Budget: Budget{Crashes: 2, Failovers: 1}},
	{Name: "two messages, all", Messages: 2, Attempts: 2, Lag: 2, Budget: Budget{Crashes: 2, Failovers: 1, Lost: 1, Parks: 1}},
	{Name: "one message, all", Messages: 1, Attempts: 2, Lag: 2, Drains: true,
		Budget: Budget{Crashes: 2, Failovers: 1, Lost: 1, Delayed: 1, Parks: 1}},
}
