#include "services/backup/retention/clock_watch.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "glog/logging.h"

namespace backup::retention {
namespace {

using storage::ClockNote;

constexpr char kWhatToDo[] =
    ": nothing is removed because of its age until `backupctl policy resume` says that the time is "
    "right";

std::string Ahead(absl::Duration step) {
  return absl::StrCat(absl::FormatDuration(absl::AbsDuration(absl::Trunc(step, absl::Seconds(1)))),
                      step > absl::ZeroDuration() ? " ahead of" : " behind");
}

}  // namespace

absl::Status ClockWatch::Check() {
  RETURN_IF_ERROR(Load());
  {
    MutexLock lock(mutex_);
    Look();
    if (!is_new_) return absl::OkStatus();
  }
  return Save();
}

absl::Time ClockWatch::RemovalTime() {
  MutexLock lock(mutex_);
  if (!note_) return absl::InfinitePast();
  Look();
  return note_->distrusted_since ? absl::InfinitePast() : clock_.Now();
}

absl::Status ClockWatch::CheckTrust() {
  RETURN_IF_ERROR(Check());
  MutexLock lock(mutex_);
  if (!note_->distrusted_since) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(note_->distrust, kWhatToDo));
}

absl::Status ClockWatch::Resume() {
  {
    MutexLock saving(save_mutex_);
    const ClockNote note = NewNote();
    RETURN_IF_ERROR(Write(note));
    MutexLock lock(mutex_);
    note_ = note;
    is_new_ = false;
  }
  LOG(WARNING) << "the time is trusted again, because somebody said so: what is old is removed";
  return absl::OkStatus();
}

absl::Status ClockWatch::Load() {
  {
    MutexLock lock(mutex_);
    if (note_) return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(std::optional<ClockNote> note, catalog_.Read([](storage::Snapshot& snapshot) {
    return snapshot.FindClockNote();
  }));
  if (!note) {
    note = NewNote();
    note->newest_time = absl::UnixEpoch();  // Yet to be noted.
  }
  MutexLock lock(mutex_);
  if (!note_) note_ = std::move(note);
  return absl::OkStatus();
}

absl::Status ClockWatch::Save() {
  MutexLock saving(save_mutex_);
  ClockNote note;
  {
    MutexLock lock(mutex_);
    note = *note_;
  }
  RETURN_IF_ERROR(Write(note));
  MutexLock lock(mutex_);
  if (*note_ == note) is_new_ = false;
  return absl::OkStatus();
}

absl::Status ClockWatch::Write(const ClockNote& note) {
  return catalog_.Run(
      [&](storage::Transaction& transaction) { return transaction.SaveClockNote(note); });
}

void ClockWatch::Look() {
  if (note_->distrusted_since) return;
  const absl::Time now = clock_.Now();
  const absl::Duration uptime = boot_clock_.Uptime();
  note_->distrust = FindDistrust(now, uptime);
  if (!note_->distrust.empty()) {
    note_->distrusted_since = now;
    LOG(ERROR) << note_->distrust << kWhatToDo;
    is_new_ = true;
    return;
  }
  if (note_->boot_id != boot_id_) {
    note_->boot_id = boot_id_;
    note_->base_time = now;
    note_->base_uptime = uptime;
    is_new_ = true;
  }
  if (now < note_->newest_time + kInterval) return;
  note_->newest_time = now;
  is_new_ = true;
}

std::string ClockWatch::FindDistrust(absl::Time now, absl::Duration uptime) const {
  const bool is_same_start = note_->boot_id == boot_id_;
  const absl::Duration step = is_same_start ? now - note_->base_time - (uptime - note_->base_uptime)
                                            : now - note_->newest_time;
  if (absl::AbsDuration(step) <= kMaxStep) return "";
  return absl::StrCat("the machine's clock is ", Ahead(step),
                      is_same_start ? " what it was, by the clock that nobody sets"
                                    : " the newest time that was noted before the machine started");
}

ClockNote ClockWatch::NewNote() const {
  ClockNote note;
  note.base_time = note.newest_time = clock_.Now();
  note.base_uptime = boot_clock_.Uptime();
  note.boot_id = boot_id_;
  return note;
}

}  // namespace backup::retention
