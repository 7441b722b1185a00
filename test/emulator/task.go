package emulator

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// task is what a 202 refers to. Guarded by BMC.mu.
type task struct {
	id, name    string
	made, ended time.Time
	failure     *message
}

// tasks of an endpoint.
type tasks struct {
	made int
	all  map[string]*task
}

const (
	taskService = root + "/TaskService"
	tasksPath   = taskService + "/Tasks"
	monitorPath = taskService + "/TaskMonitors"
)

func (t *task) state() string {
	switch {
	case t.ended.IsZero():
		return "Running"
	case t.failure != nil:
		return "Exception"
	}
	return "Completed"
}

func (t *task) doc(e errorForm) doc {
	d := doc{"TaskState": t.state(), "TaskStatus": "OK", "StartTime": t.made.UTC().Format(time.RFC3339),
		"TaskMonitor": monitorPath + "/" + t.id, "PercentComplete": 0, "Messages": []doc{}}
	if !t.ended.IsZero() {
		d["EndTime"], d["PercentComplete"] = t.ended.UTC().Format(time.RFC3339), 100
	}
	if t.failure != nil {
		d["TaskStatus"], d["Messages"] = "Critical", []doc{t.failure.doc(e)}
	}
	return resource(tasksPath+"/"+t.id, "Task.v1_7_3.Task", t.name, d)
}

// newTaskLocked makes a running task at the endpoint.
func (b *BMC) newTaskLocked(name string) *task {
	s := &b.front.tasks
	if s.all == nil {
		s.all = map[string]*task{}
	}
	s.made++
	t := &task{id: strconv.Itoa(s.made), name: name, made: time.Now()}
	s.all[t.id] = t
	return t
}

func (t *task) endLocked(failure *message) { t.ended, t.failure = time.Now(), failure }

// shownLocked says whether a task can be read now.
func (b *BMC) shownLocked(t *task) bool {
	f := b.kind().tasks
	hidden, gone := b.scaled(f.hidden), b.scaled(f.gone)
	if a := b.faultLocked("task-404"); a != nil {
		hidden = a.duration
	}
	if a := b.faultLocked("task-gone"); a != nil && !t.ended.IsZero() {
		return false
	}
	return time.Since(t.made) >= hidden && (t.ended.IsZero() || gone == 0 || time.Since(t.ended) < gone)
}

// taskNode is a task or its monitor, or nil.
func (b *BMC) taskNode(path string) *node {
	id, isTask := strings.CutPrefix(path, tasksPath+"/")
	monitor := false
	if !isTask {
		if id, monitor = strings.CutPrefix(path, monitorPath+"/"); !monitor {
			return nil
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.tasks.all[id]
	if t == nil || !b.shownLocked(t) {
		return nil
	}
	stuck := b.faultLocked("task-new") != nil
	view := func() doc {
		d := t.doc(b.kind().errors)
		if stuck {
			d["TaskState"], d["PercentComplete"] = "New", 0
		}
		return d
	}
	if monitor && (t.ended.IsZero() || stuck) {
		return &node{view: view, status: http.StatusAccepted}
	}
	return &node{view: view}
}

func (b *BMC) addTasks(t map[string]*node) {
	fixed(t, taskService, "TaskService.v1_2_0.TaskService", "Task Service", doc{"ServiceEnabled": true,
		"Tasks": link(tasksPath), "Status": healthy()})
	t[tasksPath] = &node{view: func() doc {
		members := []doc{}
		for i := 1; i <= b.tasks.made; i++ {
			if x := b.tasks.all[strconv.Itoa(i)]; b.shownLocked(x) {
				members = append(members, link(tasksPath+"/"+x.id))
			}
		}
		return resource(tasksPath, "TaskCollection.TaskCollection", "Tasks", doc{"Members": members, "Members@odata.count": len(members)})
	}}
}

// accepted answers 202 in the persona's form.
func (c *call) accepted(t *task) {
	p := c.b.kind()
	h := c.w.Header()
	switch p.tasks.location {
	case locationMonitor:
		h.Set("Location", monitorPath+"/"+t.id)
	case locationTask:
		h.Set("Location", tasksPath+"/"+t.id)
	case locationAbsolute:
		h.Set("Location", c.b.URL()+monitorPath+"/"+t.id)
	case locationNone:
	}
	if p.tasks.noBody {
		c.answer(http.StatusAccepted, nil)
		return
	}
	c.b.mu.Lock()
	d := t.doc(p.errors)
	c.b.mu.Unlock()
	c.answer(http.StatusAccepted, d)
}

// done answers the success of a change that is complete: status, or a task that
// has ended already when that is 202, or an object with a success message for 200.
func (c *call) done(status int, what string) {
	switch status {
	case http.StatusAccepted:
		c.b.mu.Lock()
		t := c.b.newTaskLocked(what)
		t.endLocked(nil)
		c.b.mu.Unlock()
		c.accepted(t)
	case http.StatusNoContent:
		c.answer(status, nil)
	default:
		c.answer(status, c.b.kind().errors.body(msgSuccess()))
	}
}
