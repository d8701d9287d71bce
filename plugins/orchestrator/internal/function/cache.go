package function

import (
	"container/list"
	"sync"

	"github.com/fnhost/fnhost/plugins/orchestrator/dsl"
)

// maxCached bounds the values in memory, by their JSON texts in bytes.
const maxCached = 16 << 20

// cache keeps decoded values that never change, the last used ones.
type cache struct {
	mu    sync.Mutex
	limit int
	bytes int
	order *list.List // of *cached, the last used first
	by    map[string]*list.Element
}

type cached struct {
	name  string
	value any
	bytes int
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), by: map[string]*list.Element{}}
}

func (c *cache) get(name string) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.by[name]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).value, true
}

func (c *cache) put(name string, value any, bytes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[name] != nil || bytes > c.limit {
		return
	}
	c.by[name] = c.order.PushFront(&cached{name, value, bytes})
	for c.bytes += bytes; c.bytes > c.limit; {
		oldest := c.order.Back()
		gone := c.order.Remove(oldest).(*cached)
		delete(c.by, gone.name)
		c.bytes -= gone.bytes
	}
}

// definitions keeps compiled workflows by the hash of their text.
type definitions struct{ cache *cache }

func newDefinitions() *definitions { return &definitions{newCache(maxCached)} }

func (d *definitions) get(hash string, text func() ([]byte, error)) (*dsl.Workflow, error) {
	if w, ok := d.cache.get(hash); ok {
		return w.(*dsl.Workflow), nil
	}
	data, err := text()
	if err != nil {
		return nil, err
	}
	w, err := dsl.Parse(data)
	if err != nil {
		return nil, err
	}
	d.put(hash, w)
	return w, nil
}

// put notes a compiled workflow; it takes about ten times the memory of its text.
func (d *definitions) put(hash string, w *dsl.Workflow) { d.cache.put(hash, w, 10*len(w.JSON)) }
