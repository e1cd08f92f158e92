package dbus

// Interactive returns how many interactive calls are under way.
func (h *Handler) Interactive() int {
	h.pending.mu.Lock()
	defer h.pending.mu.Unlock()
	return h.pending.count
}
