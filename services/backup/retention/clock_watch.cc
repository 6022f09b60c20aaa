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
  std::optional<ClockNote> note;
  std::optional<absl::Time> last_verified;
  RETURN_IF_ERROR(catalog_.Read([&](storage::Snapshot& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(note, snapshot.FindClockNote());
    ASSIGN_OR_RETURN(last_verified, snapshot.LastVerifiedTime(absl::InfiniteFuture()));
    return absl::OkStatus();
  }));
  const bool is_first = !note;
  if (is_first) note = FirstNote(last_verified);
  MutexLock lock(mutex_);
  if (note_) return absl::OkStatus();
  LOG_IF(ERROR, is_first && note->distrusted_since) << note->distrust << kWhatToDo;
  note_ = std::move(note);
  is_new_ = is_first;
  return absl::OkStatus();
}

ClockNote ClockWatch::FirstNote(std::optional<absl::Time> last_verified) const {
  ClockNote note = NewNote();
  const absl::Time now = note.newest_time;
  const bool is_behind = last_verified && *last_verified - now > kMaxStep;
  note.newest_time = is_behind ? *last_verified : absl::UnixEpoch();  // Else yet to be noted.
  if (!is_behind) return note;
  note.distrusted_since = now;
  note.distrust = absl::StrCat("the machine's clock is ", Ahead(now - *last_verified),
                               " the newest time at which a client verified a file");
  return note;
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
