package directory

import "time"

// A lag is how long the sign-in service, which reads a copy of the directory, does not
// know a new user or a new state of an application. The directory's lock guards it.
type lag struct {
	of  time.Duration
	now func() time.Time // nil: there is no lag
}

// SetLag sets the lag of what is added from now on; zero: none. now tells the time.
func (d *Directory) SetLag(of time.Duration, now func() time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lag.of, d.lag.now = of, now
}

// until returns when the sign-in service knows what changes now; zero: at once.
func (l *lag) until() time.Time {
	if l.of <= 0 || l.now == nil {
		return time.Time{}
	}
	return l.now().Add(l.of)
}

// over reports whether the sign-in service knows what it learns at a time.
func (l *lag) over(visible time.Time) bool {
	return visible.IsZero() || l.now == nil || !l.now().Before(visible)
}

// replicated returns the user if the sign-in service knows it.
func (d *Directory) replicated(u *User) *User {
	if u == nil || !d.lag.over(u.Visible) {
		return nil
	}
	return u
}

// replicatedApp returns the state of the application that the sign-in service knows;
// nil: none.
func (d *Directory) replicatedApp(a *App) *App {
	for a != nil && !d.lag.over(a.visible) {
		a = a.former
	}
	return a
}

// addAppLater adds an application, or a new state of it, that the sign-in service
// learns after the lag. The caller holds the lock.
func (d *Directory) addAppLater(t *Tenant, spec AppSpec) error {
	a, err := t.newApp(d.rand, spec)
	if err != nil {
		return err
	}
	if a.visible = d.lag.until(); !a.visible.IsZero() {
		a.former = d.replicatedApp(t.apps[a.ID])
	}
	t.putApp(a)
	return nil
}
