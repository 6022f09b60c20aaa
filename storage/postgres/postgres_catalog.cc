#include "storage/postgres/postgres_catalog.h"

#include <chrono>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "glog/logging.h"
#include "storage/damage_note.h"
#include "storage/postgres/connector.h"
#include "storage/postgres/conninfo.h"
#include "storage/postgres/postgres_transaction.h"
#include "storage/postgres/schema.h"
#include "storage/postgres/writer.h"

namespace backup::storage {

using postgres::Connection;
using postgres::Connector;
using postgres::DamagedChunks;
using postgres::PostgresTransaction;
using postgres::Query;

class PostgresCatalog::Impl {
 public:
  Impl(std::vector<ConnectionParameters> hosts, const StorageMetrics& metrics,
       const Options& options)
      : options_(options),
        connector_(std::move(hosts), options.connect_timeout, options.answer_timeout),
        writer_(connector_, damage_, metrics, options.throttle) {}
  ~Impl() { connector_.Stop(); }

  Connector& connector() { return connector_; }
  postgres::Writer& writer() { return writer_; }
  DamageNote& damage() { return damage_; }

  absl::Status Migrate() {
    ASSIGN_OR_RETURN(const std::unique_ptr<Connection> connection,
                     connector_.Connect(Connector::Use::kMigrating));
    return postgres::Migrate(*connection);
  }

  absl::Status Read(const std::function<absl::Status(PostgresTransaction&)>& read) {
    ASSIGN_OR_RETURN(std::unique_ptr<Connection> reader, TakeReader());
    absl::Cleanup give_back = [&] { GiveBack(std::move(reader)); };
    RETURN_IF_ERROR(reader->Prepare("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").Run());
    PostgresTransaction snapshot(*reader, DamagedChunks::Recipes::kRead);
    absl::Status result = read(snapshot);
    const absl::Status answered = reader->Flush();
    if (answered.ok()) connector_.NoteAlive();
    if (ReasonOf(answered) == Reason::kStateCorrupt) damage_.Note(answered);
    const bool is_lost = reader->remedy() == postgres::Remedy::kReconnect;
    const absl::Status ended = answered.ok() ? reader->EndRead() : reader->RollBack();
    if (is_lost || !ended.ok()) reader.reset();
    return result;
  }

 private:
  // One of those that are open, or another one if none is idle; or waits for one.
  absl::StatusOr<std::unique_ptr<Connection>> TakeReader() {
    {
      const auto end =
          std::chrono::steady_clock::now() + absl::ToChronoNanoseconds(options_.reader_wait);
      MutexLock lock(mutex_);
      while (taken_readers_ >= options_.max_readers) {
        const auto left = end - std::chrono::steady_clock::now();
        if (left <= left.zero()) {
          return MakeError(Reason::kOverloaded,
                           "too many requests read the catalog; try again later", "catalog");
        }
        given_back_.WaitFor(mutex_, absl::FromChrono(left));
      }
      ++taken_readers_;
      while (!idle_readers_.empty()) {
        std::unique_ptr<Connection> reader = std::move(idle_readers_.back());
        idle_readers_.pop_back();
        if (reader->IsAlive()) return reader;
      }
    }
    absl::StatusOr<std::unique_ptr<Connection>> opened =
        connector_.Connect(Connector::Use::kReading);
    if (!opened.ok()) GiveBack(nullptr);
    return opened;
  }

  // Null if it is of no more use.
  void GiveBack(std::unique_ptr<Connection> reader) {
    MutexLock lock(mutex_);
    --taken_readers_;
    if (reader != nullptr) {
      idle_readers_.push_back(std::move(reader));
    } else {
      // What this one met, the others will, too.
      idle_readers_.clear();
    }
    given_back_.NotifyOne();
  }

  const Options options_;
  DamageNote damage_;
  Connector connector_;
  Mutex mutex_;
  CondVar given_back_;
  int taken_readers_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<std::unique_ptr<Connection>> idle_readers_ ABSL_GUARDED_BY(mutex_);
  postgres::Writer writer_;  // Last: it uses the rest.
};

PostgresCatalog::PostgresCatalog(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PostgresCatalog::~PostgresCatalog() = default;

absl::StatusOr<std::unique_ptr<PostgresCatalog>> PostgresCatalog::Open(
    const std::string& conninfo, const StorageMetrics& metrics, const Options& options) {
  ASSIGN_OR_RETURN(std::vector<ConnectionParameters> hosts, ParametersOf(conninfo));
  auto impl = std::make_unique<Impl>(std::move(hosts), metrics, options);
  RETURN_IF_ERROR(impl->Migrate());
  std::unique_ptr<PostgresCatalog> catalog(new PostgresCatalog(std::move(impl)));
  // From now on a connection of each kind is open.
  RETURN_IF_ERROR(catalog->Read([](Snapshot& snapshot) { return snapshot.Count().status(); }));
  RETURN_IF_ERROR(catalog->Run([](Transaction& transaction) { return transaction.ProbeWrite(); }));
  return catalog;
}

void PostgresCatalog::Submit(Work work, Done done) {
  if (const absl::Status damage = impl_->damage().damage(); !damage.ok()) return done(damage);
  impl_->writer().Submit(std::move(work), std::move(done));
}

absl::Status PostgresCatalog::damage() const { return impl_->damage().damage(); }

int64_t PostgresCatalog::changes() const { return impl_->writer().changes(); }

absl::Status PostgresCatalog::ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) {
  return impl_->Read([&](PostgresTransaction& snapshot) { return read(snapshot); });
}

absl::StatusOr<int64_t> PostgresCatalog::SizeBytes() {
  int64_t size_bytes = 0;
  RETURN_IF_ERROR(impl_->Read([&](PostgresTransaction& snapshot) -> absl::Status {
    ASSIGN_OR_RETURN(size_bytes, snapshot.SizeBytes());
    return absl::OkStatus();
  }));
  return size_bytes;
}

}  // namespace backup::storage
