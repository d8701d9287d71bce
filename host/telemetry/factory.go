package telemetry

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// A factory makes and registers metrics of the namespace.
type factory struct{ promauto.Factory }

func (f factory) counter(name, help string, labels ...string) *prometheus.CounterVec {
	return f.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (f factory) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return f.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

func (f factory) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return f.NewHistogramVec(histogramOpts(name, help, buckets), labels)
}

// histogramOpts asks for native and for classic buckets: a Prometheus that does
// not scrape native histograms still has something to read.
func histogramOpts(name, help string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Namespace: namespace, Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}
}

// zero makes the series of the values of a counter's only label.
func zero(vec *prometheus.CounterVec, values []string) {
	for _, value := range values {
		vec.WithLabelValues(value)
	}
}

// known is value if it is one of the closed label's values, and else `other`.
func known(values []string, value string) string {
	if slices.Contains(values, value) {
		return value
	}
	return other
}

// readings are gauges by role that are read when they are scraped.
type readings struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	read map[string]func() int
}

func newReadings(name, help string) *readings {
	return &readings{
		desc: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, []string{"role"}, nil),
		read: map[string]func() int{},
	}
}

func (r *readings) set(role string, read func() int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read[role] = read
}

func (r *readings) Describe(ch chan<- *prometheus.Desc) { ch <- r.desc }

func (r *readings) Collect(ch chan<- prometheus.Metric) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for role, read := range r.read {
		ch <- prometheus.MustNewConstMetric(r.desc, prometheus.GaugeValue, float64(read()), role)
	}
}

// totals are counters that Redis keeps: only their last value is known here.
type totals struct {
	desc *prometheus.Desc
	mu   sync.Mutex
	last map[[2]string]float64
}

func newTotals(name, help string) *totals {
	return &totals{
		desc: prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, []string{"role", "stream"}, nil),
		last: map[[2]string]float64{},
	}
}

func (t *totals) set(role, stream string, value float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last[[2]string{role, stream}] = value
}

func (t *totals) Describe(ch chan<- *prometheus.Desc) { ch <- t.desc }

func (t *totals) Collect(ch chan<- prometheus.Metric) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for labels, value := range t.last {
		ch <- prometheus.MustNewConstMetric(t.desc, prometheus.CounterValue, value, labels[0], labels[1])
	}
}
