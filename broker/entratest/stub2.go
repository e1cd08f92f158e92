package entratest

func (b *browser) assertion(pg *page) (string, error) { return "", nil }
