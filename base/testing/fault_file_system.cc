#include "base/testing/fault_file_system.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <iterator>
#include <set>
#include <span>

#include "absl/strings/str_split.h"

namespace backup::testing {
namespace {

// More than any test writes.
constexpr int64_t kCapacityBytes = int64_t{1} << 40;

std::string Zeros(int64_t size_bytes) { return std::string(static_cast<size_t>(size_bytes), '\0'); }

// Puts `part` at `offset`, with zeros before it if there is nothing.
void Put(absl::string_view part, int64_t offset, std::string& bytes) {
  const auto at = static_cast<size_t>(offset);
  if (bytes.size() < at + part.size()) bytes.resize(at + part.size());
  bytes.replace(at, part.size(), part.data(), part.size());
}

}  // namespace

// A file that is open; of an earlier start it is of no use.
class FaultFileSystem::OpenFile final : public File {
 public:
  OpenFile(FaultFileSystem& file_system, NodePtr node, int start, bool is_direct)
      : file_system_(file_system), node_(std::move(node)), start_(start), is_direct_(is_direct) {
    ++node_->uses;
  }
  ~OpenFile() override {
    MutexLock lock(file_system_.mutex_);
    if (start_ == file_system_.starts_) --node_->uses;
  }

  ssize_t ReadAt(int64_t offset, std::span<char> out) const override {
    MutexLock lock(file_system_.mutex_);
    if (Next() != Fate::kWorks) return -1;
    if (offset >= std::ssize(node_->bytes)) return 0;
    return static_cast<ssize_t>(
        node_->bytes.copy(out.data(), out.size(), static_cast<size_t>(offset)));
  }

  ssize_t WriteAt(int64_t offset, absl::string_view bytes) override {
    MutexLock lock(file_system_.mutex_);
    if (is_direct_ && !IsAligned(offset, bytes)) {
      errno = EINVAL;
      return -1;
    }
    const Fate fate = Next();
    const int error = errno;
    if (fate == Fate::kFails && HasEnded()) return -1;
    // What fails may have been done in part.
    if (fate == Fate::kFails)
      bytes = bytes.substr(0, static_cast<size_t>(file_system_.UpTo(std::ssize(bytes))));
    const int64_t written = file_system_.Write(*node_, offset, bytes);
    if (fate == Fate::kWorks && (written > 0 || bytes.empty())) return written;
    errno = fate == Fate::kWorks ? ENOSPC : error;
    return -1;
  }

  bool Sync() override {
    MutexLock lock(file_system_.mutex_);
    const Fate fate = Next();
    if (fate == Fate::kFails) {
      if (!HasEnded()) AbandonChanges(*node_);
      return false;
    }
    FaultFileSystem::Sync(*node_);
    return Told(fate);
  }

  bool SetSize(int64_t size_bytes) override {
    MutexLock lock(file_system_.mutex_);
    const Fate fate = Next();
    if (fate == Fate::kFails) return false;
    file_system_.Change(*node_, FileChange::Kind::kSize, size_bytes);
    return Told(fate);
  }

  bool Allocate(int64_t size_bytes) override {
    MutexLock lock(file_system_.mutex_);
    const Fate fate = Next();
    if (fate == Fate::kFails) return false;
    const int64_t growth = size_bytes - std::ssize(node_->bytes);
    if (growth > file_system_.FreeBytes()) {
      errno = ENOSPC;
      return false;
    }
    if (growth > 0) file_system_.Change(*node_, FileChange::Kind::kSize, size_bytes);
    return Told(fate);
  }

  bool PunchHole(int64_t offset, int64_t size_bytes) override {
    MutexLock lock(file_system_.mutex_);
    const Fate fate = Next();
    if (fate == Fate::kFails) return false;
    const int64_t end = std::min(offset + size_bytes, std::ssize(node_->bytes));
    if (end > offset)
      file_system_.Change(*node_, FileChange::Kind::kZeros, offset, Zeros(end - offset));
    return Told(fate);
  }

  std::optional<int64_t> SizeBytes() const override {
    MutexLock lock(file_system_.mutex_);
    if (Next() != Fate::kWorks) return std::nullopt;
    if (!node_->is_folder) return std::ssize(node_->bytes);
    errno = EINVAL;
    return std::nullopt;
  }

  std::optional<DiskSpace> Disk() const override {
    MutexLock lock(file_system_.mutex_);
    if (Next() != Fate::kWorks) return std::nullopt;
    return DiskSpace{file_system_.capacity_bytes_, file_system_.FreeBytes()};
  }

  bool is_direct() const override { return is_direct_; }
  bool UsePageCache() override {
    is_direct_ = false;
    return true;
  }

 private:
  static bool IsAligned(int64_t offset, absl::string_view bytes) {
    const auto address = reinterpret_cast<uintptr_t>(bytes.data());
    return (static_cast<uintptr_t>(offset) | address | bytes.size()) % kSectorSize == 0;
  }
  Fate Next() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_system_.mutex_) {
    if (start_ == file_system_.starts_) return file_system_.Next();
    errno = EIO;
    return Fate::kFails;
  }
  // Whether nothing has any effect any more.
  bool HasEnded() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_system_.mutex_) {
    return start_ != file_system_.starts_ || file_system_.fault_ == Fault::kStop;
  }

  FaultFileSystem& file_system_;
  const NodePtr node_;
  const int start_;
  bool is_direct_;
};

FaultFileSystem::FaultFileSystem(uint64_t seed)
    : random_(seed), root_(std::make_shared<Node>()), capacity_bytes_(kCapacityBytes) {
  root_->is_folder = true;
}

void FaultFileSystem::FailNth(int nth, int error) {
  MutexLock lock(mutex_);
  fault_ = Fault::kOnce;
  left_ = nth;
  error_ = error;
}

void FaultFileSystem::FailFromNth(int nth, int error) {
  MutexLock lock(mutex_);
  fault_ = Fault::kFromThen;
  left_ = nth;
  error_ = error;
}

void FaultFileSystem::StopAtNth(int nth) {
  MutexLock lock(mutex_);
  fault_ = Fault::kStop;
  left_ = nth;
  error_ = EIO;
}

bool FaultFileSystem::has_struck() const {
  MutexLock lock(mutex_);
  return fault_ != Fault::kNone && left_ == 0;
}

void FaultFileSystem::Heal() {
  MutexLock lock(mutex_);
  fault_ = Fault::kNone;
}

void FaultFileSystem::SetCapacity(int64_t total_bytes) {
  MutexLock lock(mutex_);
  capacity_bytes_ = total_bytes;
}

void FaultFileSystem::ForgetRenameToNew() {
  MutexLock lock(mutex_);
  knows_rename_to_new_ = false;
}

FaultFileSystem::Fate FaultFileSystem::Next() {
  if (fault_ == Fault::kNone) return Fate::kWorks;
  const bool has_struck = left_ == 0;
  if (has_struck && fault_ == Fault::kOnce) return Fate::kWorks;
  if (!has_struck && --left_ > 0) return Fate::kWorks;
  errno = error_;
  const bool has_effect = fault_ == Fault::kStop && !has_struck && Coin();
  return has_effect ? Fate::kStopsAfterIt : Fate::kFails;
}

bool FaultFileSystem::Told(Fate fate) {
  if (fate == Fate::kWorks) return true;
  errno = EIO;
  return false;
}

int64_t FaultFileSystem::UpTo(int64_t most) {
  return std::uniform_int_distribution<int64_t>(0, most)(random_);
}

FaultFileSystem::NodePtr FaultFileSystem::Find(absl::string_view path) const {
  std::vector<NodePtr> way = {root_};
  for (const absl::string_view part : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (!way.back()->is_folder) {
      errno = ENOTDIR;
      return nullptr;
    }
    if (part == ".") continue;
    if (part == "..") {
      if (way.size() > 1) way.pop_back();
      continue;
    }
    const auto found = way.back()->names.find(std::string(part));
    if (found == way.back()->names.end()) {
      errno = ENOENT;
      return nullptr;
    }
    way.push_back(found->second);
  }
  return way.back();
}

std::optional<FaultFileSystem::Place> FaultFileSystem::PlaceOf(const std::string& path) const {
  const size_t slash = path.rfind('/');
  const NodePtr folder = Find(absl::string_view(path).substr(0, slash));
  if (folder == nullptr) return std::nullopt;
  if (!folder->is_folder) {
    errno = ENOTDIR;
    return std::nullopt;
  }
  return Place{folder, path.substr(slash + 1)};
}

void FaultFileSystem::SetName(Node& folder, const std::string& name, NodePtr node) {
  if (node != nullptr) ++node->uses;
  const auto found = folder.names.find(name);
  if (found != folder.names.end()) --found->second->uses;
  Apply({name, node, Standing::kUnsynced}, folder.names);
  folder.name_changes.push_back({name, std::move(node), Standing::kUnsynced});
}

std::unique_ptr<File> FaultFileSystem::Create(const std::string& path, int flags) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  if (fate == Fate::kFails) return nullptr;
  const std::optional<Place> place = PlaceOf(path);
  if (!place) return nullptr;
  if (place->folder->names.contains(place->name)) {
    errno = EEXIST;
    return nullptr;
  }
  const auto node = std::make_shared<Node>();
  files_.push_back(node);
  SetName(*place->folder, place->name, node);
  const bool is_direct = (flags & O_DIRECT) != 0;
  return Told(fate) ? std::make_unique<OpenFile>(*this, node, starts_, is_direct) : nullptr;
}

std::unique_ptr<File> FaultFileSystem::Open(const std::string& path, int flags) {
  MutexLock lock(mutex_);
  if (Next() != Fate::kWorks) return nullptr;
  NodePtr node = Find(path);
  if (node == nullptr) return nullptr;
  if ((flags & O_DIRECT) != 0) {
    errno = EINVAL;
    return nullptr;
  }
  return std::make_unique<OpenFile>(*this, std::move(node), starts_, /*is_direct=*/false);
}

bool FaultFileSystem::Move(const std::string& from, const std::string& to, bool replaces) {
  const std::optional<Place> old_place = PlaceOf(from);
  const std::optional<Place> new_place = PlaceOf(to);
  if (!old_place || !new_place) return false;
  const auto found = old_place->folder->names.find(old_place->name);
  const auto taken = new_place->folder->names.find(new_place->name);
  if (found == old_place->folder->names.end()) {
    errno = ENOENT;
    return false;
  }
  const NodePtr node = found->second;
  if (taken != new_place->folder->names.end()) {
    if (!replaces || taken->second->is_folder) {
      errno = replaces ? EISDIR : EEXIST;
      return false;
    }
  }
  SetName(*new_place->folder, new_place->name, node);
  SetName(*old_place->folder, old_place->name, nullptr);
  return true;
}

bool FaultFileSystem::Rename(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  return fate != Fate::kFails && Move(from, to, /*replaces=*/true) && Told(fate);
}

bool FaultFileSystem::RenameToNew(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  if (fate != Fate::kFails && !knows_rename_to_new_) {
    errno = EINVAL;
    return false;
  }
  return fate != Fate::kFails && Move(from, to, /*replaces=*/false) && Told(fate);
}

bool FaultFileSystem::Link(const std::string& from, const std::string& to) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  if (fate == Fate::kFails) return false;
  const NodePtr node = Find(from);
  const std::optional<Place> place = PlaceOf(to);
  if (node == nullptr || !place) return false;
  if (place->folder->names.contains(place->name)) {
    errno = EEXIST;
    return false;
  }
  SetName(*place->folder, place->name, node);
  return Told(fate);
}

bool FaultFileSystem::Remove(const std::string& path) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  if (fate == Fate::kFails) return false;
  const std::optional<Place> place = PlaceOf(path);
  if (!place) return false;
  const auto found = place->folder->names.find(place->name);
  if (found == place->folder->names.end() || found->second->is_folder) {
    errno = found == place->folder->names.end() ? ENOENT : EISDIR;
    return false;
  }
  SetName(*place->folder, place->name, nullptr);
  return Told(fate);
}

bool FaultFileSystem::MakeFolder(const std::string& path) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  if (fate == Fate::kFails) return false;
  const std::optional<Place> place = PlaceOf(path);
  if (!place) return false;
  if (place->folder->names.contains(place->name)) {
    errno = EEXIST;
    return false;
  }
  const auto node = std::make_shared<Node>();
  node->is_folder = true;
  SetName(*place->folder, place->name, node);
  return Told(fate);
}

bool FaultFileSystem::List(const std::string& path,
                           const std::function<bool(const Entry&)>& visit) {
  std::vector<Entry> entries;
  {
    MutexLock lock(mutex_);
    if (Next() != Fate::kWorks) return false;
    const NodePtr folder = Find(path);
    if (folder == nullptr) return false;
    for (const auto& [name, node] : folder->names)
      entries.push_back({name, std::ssize(node->bytes), absl::UnixEpoch()});
  }
  for (const Entry& entry : entries)
    if (!visit(entry)) break;
  return true;
}

bool FaultFileSystem::SyncFolder(const std::string& path) {
  MutexLock lock(mutex_);
  const Fate fate = Next();
  const int error = errno;
  const NodePtr folder = Find(path);
  if (folder == nullptr) return false;
  if (fate == Fate::kFails) {
    if (fault_ != Fault::kStop) AbandonChanges(*folder);
    errno = error;
    return false;
  }
  Sync(*folder);
  return Told(fate);
}

int64_t FaultFileSystem::FreeBytes() const {
  int64_t free_bytes = capacity_bytes_;
  for (const std::weak_ptr<Node>& file : files_) {
    const NodePtr node = file.lock();
    if (node != nullptr && node->uses > 0) free_bytes -= std::ssize(node->bytes);
  }
  return std::max<int64_t>(free_bytes, 0);
}

int64_t FaultFileSystem::Write(Node& file, int64_t offset, absl::string_view bytes) {
  const int64_t size_bytes = std::ssize(file.bytes);
  if (offset + std::ssize(bytes) > size_bytes) {
    const int64_t end = std::min(offset + std::ssize(bytes), size_bytes + FreeBytes());
    bytes = bytes.substr(0, static_cast<size_t>(std::max<int64_t>(end - offset, 0)));
  }
  if (bytes.empty()) return 0;
  Change(file, FileChange::Kind::kWrite, offset, std::string(bytes));
  last_write_ = changes_;
  return std::ssize(bytes);
}

void FaultFileSystem::Change(Node& file, FileChange::Kind kind, int64_t offset, std::string bytes) {
  file.changes.push_back({kind, offset, std::move(bytes), ++changes_, Standing::kUnsynced});
  Apply(file.changes.back(), file.bytes);
}

void FaultFileSystem::Apply(const FileChange& change, std::string& bytes) {
  switch (change.kind) {
    case FileChange::Kind::kWrite:
    case FileChange::Kind::kZeros:
      return Put(change.bytes, change.offset, bytes);
    case FileChange::Kind::kSize:
      return bytes.resize(static_cast<size_t>(change.offset));
  }
}

void FaultFileSystem::Apply(const NameChange& change, Names& names) {
  if (change.node == nullptr) {
    names.erase(change.name);
  } else {
    names[change.name] = change.node;
  }
}

template <typename Changes, typename State>
void FaultFileSystem::SyncChanges(Changes& changes, State& durable) {
  for (auto& change : changes)
    if (change.standing == Standing::kUnsynced) change.standing = Standing::kSynced;
  // Behind what is uncertain they stay, so that they come after it.
  size_t certain = 0;
  while (certain < changes.size() && changes[certain].standing == Standing::kSynced)
    Apply(changes[certain++], durable);
  changes.erase(changes.begin(), changes.begin() + static_cast<ptrdiff_t>(certain));
}

void FaultFileSystem::Sync(Node& node) {
  SyncChanges(node.changes, node.durable_bytes);
  SyncChanges(node.name_changes, node.durable_names);
}

void FaultFileSystem::AbandonChanges(Node& node) {
  const auto abandon = [](auto& change) {
    if (change.standing == Standing::kUnsynced) change.standing = Standing::kAbandoned;
  };
  std::for_each(node.changes.begin(), node.changes.end(), abandon);
  std::for_each(node.name_changes.begin(), node.name_changes.end(), abandon);
}

int64_t FaultFileSystem::LastWriteSize() const {
  MutexLock lock(mutex_);
  for (const std::weak_ptr<Node>& file : files_) {
    const NodePtr node = file.lock();
    if (node == nullptr) continue;
    for (const FileChange& change : node->changes)
      if (change.number == last_write_) return std::ssize(change.bytes);
  }
  return 0;
}

void FaultFileSystem::Restart(Loss loss, std::optional<int64_t> kept_of_last_write) {
  MutexLock lock(mutex_);
  fault_ = Fault::kNone;
  ++starts_;
  for (const std::weak_ptr<Node>& file : files_)
    if (const NodePtr node = file.lock()) node->uses = 0;
  CrashFolder(*root_, loss, kept_of_last_write);
  last_write_ = 0;
}

bool FaultFileSystem::Survives(Standing standing, Loss loss) {
  switch (standing) {
    case Standing::kSynced:
      return true;
    case Standing::kUnsynced:
      return loss == Loss::kNothing || (loss == Loss::kAny && Coin());
    case Standing::kAbandoned:  // The kernel forgets it in its own time.
      return loss != Loss::kEverything && Coin();
  }
  return false;
}

void FaultFileSystem::CrashFolder(Node& folder, Loss loss,
                                  std::optional<int64_t> kept_of_last_write) {
  for (const NameChange& change : folder.name_changes)
    if (Survives(change.standing, loss)) Apply(change, folder.durable_names);
  folder.name_changes.clear();
  folder.names = folder.durable_names;
  for (const auto& [name, node] : folder.names) {
    ++node->uses;
    if (node->is_folder) {
      CrashFolder(*node, loss, kept_of_last_write);
    } else {
      CrashFile(*node, loss, kept_of_last_write);
    }
  }
}

void FaultFileSystem::CrashFile(Node& file, Loss loss, std::optional<int64_t> kept_of_last_write) {
  for (FileChange& change : file.changes) {
    const bool is_certain = change.standing == Standing::kSynced;
    if (change.number == last_write_ && kept_of_last_write) {
      change.bytes.resize(std::min(change.bytes.size(), static_cast<size_t>(*kept_of_last_write)));
      Apply(change, file.durable_bytes);
    } else if (loss == Loss::kAny && !is_certain && change.kind == FileChange::Kind::kWrite) {
      ApplySome(change, file.durable_bytes);
    } else if (Survives(change.standing, loss)) {
      Apply(change, file.durable_bytes);
    }
  }
  // What has a second name is not lost twice.
  file.changes.clear();
  file.bytes = file.durable_bytes;
}

void FaultFileSystem::ApplySome(const FileChange& change, std::string& bytes) {
  enum Way { kNone, kAll, kFirstOnes, kAnyOnes };
  const auto way = static_cast<Way>(UpTo(kAnyOnes));
  const absl::string_view written = change.bytes;
  const int64_t end = change.offset + std::ssize(written);
  const int64_t first_ones = UpTo(std::ssize(written) / kSectorSize);
  int64_t sector = 0;
  for (int64_t at = change.offset; at < end; ++sector) {
    const int64_t next = std::min(end, (at / kSectorSize + 1) * kSectorSize);
    const bool is_kept =
        way == kAll || (way == kFirstOnes && sector < first_ones) || (way == kAnyOnes && Coin());
    if (is_kept)
      Put(written.substr(static_cast<size_t>(at - change.offset), static_cast<size_t>(next - at)),
          at, bytes);
    at = next;
  }
  // A size without what belongs there.
  if (std::ssize(bytes) < end && Coin()) bytes.resize(static_cast<size_t>(end));
}

}  // namespace backup::testing
