#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "storage/catalog/snapshot.h"
#include "storage/catalog/transaction.h"

namespace backup::storage {

// Who owns which file and where its bytes are. Thread-safe.
class Catalog {
 public:
  struct Compacted {
    int64_t pages = 0;  // That were given back.
    bool is_done = true;
  };

  // What is to be done in one transaction; an error undoes it. It may touch nothing but the
  // transaction and what it captured, must neither block nor compute for long, since it is on
  // everybody's way to the disk, and may be run again from its beginning, on any thread, after what
  // it did was undone: so it replaces results of an earlier run and adds nothing to them.
  using Work = std::function<absl::Status(Transaction&)>;
  // Told once what became of it: OK if what it did is durable; an error of the work or of the
  // catalog if all of it was undone; reason BACKEND_DOWN or STORAGE_IO if that is not known. Must
  // not block, nor use the catalog but to Submit().
  using Done = std::function<void(const absl::Status&)>;

  virtual ~Catalog() = default;

  // Runs `work` soon, and then `done`, on threads of the catalog's own or on this one. Nobody waits
  // for it. Works take effect in the order in which they are submitted. Reason OVERLOADED if too
  // many wait, in which case `work` does not run.
  virtual void Submit(Work work, Done done) = 0;

  // Calls `read` once, on this thread, with the newest durable state; returns what that returns.
  // May wait for the medium, never for a writer. `read` takes a Snapshot& and returns an
  // absl::Status or an absl::StatusOr.
  template <typename ReadWork>
  std::invoke_result_t<ReadWork, Snapshot&> Read(const ReadWork& read) {
    return Keep<Snapshot>(read, [this](const std::function<absl::Status(Snapshot&)>& keeping) {
      return ReadSnapshot(keeping);
    });
  }

  // One step of giving room that the catalog does not use back to the file system: what it will
  // hardly need again soon, and on a full disk all of it. Keeps writers waiting for at most about
  // 20 ms. Errors as of Run(); reason BACKEND_DOWN also if a program that reads the catalog hinders
  // it.
  virtual absl::StatusOr<Compacted> Compact() { return Compacted(); }

  // Copies the newest durable state into a new file at `path`, while the catalog is in use: neither
  // the writer nor readers wait for it. The copy is whole and checked when this returns OK, but not
  // synced; else what is there is of no use. Calls `pause`, which may wait, after every few pages,
  // unless that makes the catalog's log grow too large. Ends with Cancelled soon after `token` is
  // told to stop. Errors: reasons STATE_CORRUPT if it is damaged, STORAGE_FULL, STORAGE_IO;
  // Unimplemented if it is in no file.
  virtual absl::Status CopyTo(const std::string& path, const std::function<void()>& pause,
                              const std::stop_token& token);
  // Reads all of it, and compares what belongs together. Calls `pause` between its tables. What is
  // found is what damage() says from then on. Errors as of CopyTo().
  virtual absl::Status Check(const std::function<void()>& pause, const std::stop_token& token);
  // OK, or reason STATE_CORRUPT, with what to do about it, since damage was met. From then on
  // nothing is written any more; what can be read is read.
  virtual absl::Status damage() const { return absl::OkStatus(); }
  // Counts changes since it was opened, but not those of times, leases and jobs' states.
  virtual int64_t changes() const { return 0; }

  // Whether it is in a database server, and in no file of ours: that has copies, checks and room of
  // its own.
  virtual bool is_elsewhere() const { return false; }
  // What it takes there. May wait for the server. Unimplemented if it is in a file, whose size
  // tells.
  virtual absl::StatusOr<int64_t> SizeBytes();

  // Submits `work` and waits for it; returns what its last run returned, if that is durable. Like
  // Work, but it may return an absl::StatusOr. Not to be called by works and their `done`.
  template <typename RunWork>
  std::invoke_result_t<RunWork, Transaction&> Run(const RunWork& work) {
    return Keep<Transaction>(work, [this](const Work& keeping) { return SubmitAndWait(keeping); });
  }

 protected:
  // Waits until `submit` has had the function that it is given called, once, on another thread or
  // on this one; returns what that was called with.
  static absl::Status Await(const std::function<void(Done)>& submit);

 private:
  virtual absl::Status ReadSnapshot(const std::function<absl::Status(Snapshot&)>& read) = 0;
  absl::Status SubmitAndWait(const Work& work) {
    return Await([&](Done done) { Submit(work, std::move(done)); });
  }

  // Gives `call` a function that keeps what `work` returns, which is returned unless `call` fails.
  template <typename Access, typename AnyWork, typename Call>
  static std::invoke_result_t<AnyWork, Access&> Keep(const AnyWork& work, const Call& call) {
    using Result = std::invoke_result_t<AnyWork, Access&>;
    if constexpr (std::is_same_v<Result, absl::Status>) {
      return call(work);
    } else {
      Result result = absl::UnknownError("not run");
      const absl::Status status = call([&](Access& access) {
        result = work(access);
        return result.status();
      });
      return status.ok() ? std::move(result) : Result(status);
    }
  }
};

}  // namespace backup::storage
