package hosttest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"
)

// A Fault is what a [Proxy] does to a request, instead of passing it on and
// passing its answer back.
type Fault struct {
	kind    faultKind
	message string
	delay   time.Duration
}

type faultKind uint8

const (
	cutBefore faultKind = iota + 1
	cutAfter
	cutMid
	answer
	swallow
	hold
)

// Faults of one request.
var (
	// CutBefore cuts the connection, and the server never sees the request.
	CutBefore = Fault{kind: cutBefore}
	// CutAfter has the server execute the request, and cuts the connection in
	// place of the answer.
	CutAfter = Fault{kind: cutAfter}
	// CutMid is CutAfter in the middle of the answer.
	CutMid = Fault{kind: cutMid}
	// Swallow has the server execute the request, and never answers: neither
	// this one nor what else comes on the connection, which stays open.
	Swallow = Fault{kind: swallow}
)

// Answer keeps the request from the server and answers with an error, as
// `LOADING Redis is loading the dataset in memory`.
func Answer(message string) Fault { return Fault{kind: answer, message: message} }

// Hold passes the request on after a while.
func Hold(d time.Duration) Fault { return Fault{kind: hold, delay: d} }

// A Rule says to which requests a fault happens.
type Rule struct {
	Match func(command []string) bool // name and arguments; the name in capitals
	Skip  int                         // so many matches pass first
	Times int                         // how often it happens; 0: until it is removed
	Fault Fault

	mu         sync.Mutex
	seen, done int
	hit        chan struct{} // closed with the first time
}

// Hit is closed when the fault has happened for the first time.
func (r *Rule) Hit() <-chan struct{} { return r.hit }

// Done is how often the fault has happened.
func (r *Rule) Done() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.done
}

// take says whether the fault happens to the command.
func (r *Rule) take(command []string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.Times > 0 && r.done >= r.Times || !r.Match(command) {
		return false
	}
	if r.seen++; r.seen <= r.Skip {
		return false
	}
	if r.done++; r.done == 1 {
		close(r.hit)
	}
	return true
}

// A Proxy stands between clients and a redis-server, and breaks what goes
// through it. Without rules it changes nothing.
type Proxy struct {
	listener net.Listener
	conns    sync.WaitGroup

	mu     sync.Mutex
	target string
	rules  []*Rule
	open   map[net.Conn]bool // both ends
	refuse bool
	frozen chan struct{} // closed when bytes may pass; nil: they may
	passed map[string]int
}

// NewProxy starts a proxy to the server at target, host:port. It ends with the
// test.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{listener: l, target: target, open: map[net.Conn]bool{}, passed: map[string]int{}}
	p.conns.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close()
		p.Thaw()
		p.Refuse(true)
		p.conns.Wait()
	})
	return p
}

// Addr is host:port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is what REDIS_URL wants.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Add adds a rule. The first one that takes a request has it.
func (p *Proxy) Add(r *Rule) *Rule {
	r.hit = make(chan struct{})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = append(p.rules, r)
	return r
}

// Remove ends a rule.
func (p *Proxy) Remove(r *Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules = slices.DeleteFunc(p.rules, func(other *Rule) bool { return other == r })
}

// Cut cuts every connection there is.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.open {
		_ = conn.Close()
	}
}

// Refuse cuts every connection there is, and new ones at once; or ends that.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	p.refuse = on
	p.mu.Unlock()
	if on {
		p.Cut()
	}
}

// Freeze keeps every byte from passing, in both directions, without closing a
// connection: a network that drops packets. New connections are accepted.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen == nil {
		p.frozen = make(chan struct{})
	}
}

// Thaw ends a Freeze: what was held back passes.
func (p *Proxy) Thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.frozen != nil {
		close(p.frozen)
		p.frozen = nil
	}
}

// Retarget leads to another server from now on, and cuts every connection.
func (p *Proxy) Retarget(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.Cut()
}

// Passed is how many commands of a name, in capitals, were passed on.
func (p *Proxy) Passed(name string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.passed[name]
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.conns.Go(func() { p.serve(client) })
	}
}

// keep notes a connection, so that it can be cut; false if it is to be cut now.
func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse {
		_ = conn.Close()
		return false
	}
	p.open[conn] = true
	return true
}

func (p *Proxy) drop(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, conn)
	_ = conn.Close()
}

// pass waits while the proxy is frozen.
func (p *Proxy) pass() {
	p.mu.Lock()
	frozen := p.frozen
	p.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
}

func (p *Proxy) faultOf(command []string) Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.rules {
		if r.take(command) {
			return r.Fault
		}
	}
	p.passed[command[0]]++
	return Fault{}
}

// serve carries one connection: requests one way, answers in the same order the
// other. Either side's end is the end of both.
func (p *Proxy) serve(client net.Conn) {
	defer p.drop(client)
	if !p.keep(client) {
		return
	}
	p.mu.Lock()
	target := p.target
	p.mu.Unlock()
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer p.drop(server)
	if !p.keep(server) {
		return
	}
	faults := make(chan Fault, 256) // of requests that wait for their answers
	var back sync.WaitGroup
	back.Go(func() {
		p.answers(server, client, faults)
		p.drop(client)
		for range faults { // what was asked for in the meantime
		}
	})
	p.requests(client, server, faults)
	close(faults)
	p.drop(server) // after the answers that were asked for; at the latest now
	back.Wait()
}

// requests passes requests on, and tells the way back what is to happen to
// their answers.
func (p *Proxy) requests(client, server net.Conn, faults chan<- Fault) {
	in := bufio.NewReader(client)
	for {
		raw, command, err := readCommand(in)
		if err != nil {
			return
		}
		p.pass()
		fault := p.faultOf(command)
		switch fault.kind {
		case cutBefore:
			return
		case hold:
			time.Sleep(fault.delay)
		}
		faults <- fault
		if fault.kind == answer {
			continue
		}
		if _, err := server.Write(raw); err != nil {
			return
		}
	}
}

// answers passes answers back until one is to be cut.
func (p *Proxy) answers(server, client net.Conn, faults <-chan Fault) {
	in := bufio.NewReader(server)
	for fault := range faults {
		raw := []byte("-" + fault.message + "\r\n")
		if fault.kind != answer {
			var err error
			if raw, err = readReply(in); err != nil {
				return
			}
		}
		p.pass()
		switch fault.kind {
		case cutAfter:
			return
		case cutMid:
			_, _ = client.Write(raw[:len(raw)/2])
			return
		case swallow:
			for range faults { // until the client gives up
			}
			return
		}
		if _, err := client.Write(raw); err != nil {
			return
		}
	}
}

// readCommand reads one request, an array of strings.
func readCommand(in *bufio.Reader) (raw []byte, command []string, err error) {
	raw, n, err := readHeader(in, '*')
	if err != nil {
		return nil, nil, err
	}
	for range n {
		head, size, err := readHeader(in, '$')
		if err != nil {
			return nil, nil, err
		}
		body := make([]byte, size+2)
		if _, err := io.ReadFull(in, body); err != nil {
			return nil, nil, err
		}
		raw = append(append(raw, head...), body...)
		command = append(command, string(body[:size]))
	}
	if len(command) == 0 {
		return nil, nil, fmt.Errorf("an empty command")
	}
	command[0] = upper(command[0])
	return raw, command, nil
}

func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - 32
		}
	}
	return string(b)
}

// readHeader reads a line of a kind with a number.
func readHeader(in *bufio.Reader, kind byte) (line []byte, n int, err error) {
	line, err = in.ReadBytes('\n')
	if err != nil {
		return nil, 0, err
	}
	if line[0] != kind {
		return nil, 0, fmt.Errorf("%q does not begin with %q", line, kind)
	}
	n, err = strconv.Atoi(string(line[1 : len(line)-2]))
	return line, n, err
}

// readReply reads one answer of RESP 2.
func readReply(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadBytes('\n')
	if err != nil {
		return nil, err
	}
	switch line[0] {
	case '$', '*':
	default:
		return line, nil
	}
	n, err := strconv.Atoi(string(line[1 : len(line)-2]))
	if err != nil || n < 0 {
		return line, err
	}
	if line[0] == '$' {
		body := make([]byte, n+2)
		_, err := io.ReadFull(in, body)
		return append(line, body...), err
	}
	for range n {
		each, err := readReply(in)
		if err != nil {
			return nil, err
		}
		line = append(line, each...)
	}
	return line, nil
}
