#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "storage/catalog/catalog.h"

namespace backup::storage {

// Things of which one transaction brings many, such as reserved numbers: handed out one by one, in
// order, without a transaction for each. More are fetched before the last is gone, so that as a
// rule nobody waits. What is left at the end is lost. Thread-safe.
template <typename T>
class Stock {
 public:
  // At least one of them, in order. May run after the stock is gone, as long as the catalog lives.
  using Fetch = std::function<absl::StatusOr<std::vector<T>>(Transaction&)>;

  // `catalog` must outlive this. `low` things left, or fewer, are a reason to fetch more.
  Stock(Catalog& catalog, Fetch fetch, size_t low)
      : catalog_(catalog), state_(std::make_shared<State>(std::move(fetch), low)) {}

  // The next one if there is one, without waiting. Fetches more if there are few.
  std::optional<T> TryTake() { return Attempt().taken; }

  // The next one; waits for a transaction if there is none. Errors: those of the fetch. Not to be
  // called by works and their `done`.
  absl::StatusOr<T> Take() {
    while (true) {
      Attempted attempted = Attempt();
      if (attempted.taken) return *std::move(attempted.taken);
      MutexLock lock(state_->mutex);
      while (state_->fetches < attempted.fetch) state_->fetched.Wait(state_->mutex);
      if (state_->left.empty() && !state_->last_error.ok()) return state_->last_error;
    }
  }

 private:
  // Outlives the stock by as long as a fetch is in flight.
  struct State {
    State(Fetch fetch_work, size_t low_mark) : fetch(std::move(fetch_work)), low(low_mark) {}
    const Fetch fetch;
    const size_t low;
    Mutex mutex;
    CondVar fetched;
    std::deque<T> left ABSL_GUARDED_BY(mutex);
    bool fetching ABSL_GUARDED_BY(mutex) = false;
    int64_t fetches ABSL_GUARDED_BY(mutex) = 0;      // That ended.
    absl::Status last_error ABSL_GUARDED_BY(mutex);  // Of the last of them.
  };

  struct Attempted {
    std::optional<T> taken;
    int64_t fetch = 0;  // If nothing was taken: the number of the fetch that brings more.
  };

  Attempted Attempt() {
    Attempted attempted;
    bool starts = false;
    {
      MutexLock lock(state_->mutex);
      if (!state_->left.empty()) {
        attempted.taken = std::move(state_->left.front());
        state_->left.pop_front();
      }
      starts = !state_->fetching && state_->left.size() <= state_->low;
      if (starts) state_->fetching = true;
      attempted.fetch = state_->fetches + 1;
    }
    // Without the lock, because the catalog may fetch at once and on this thread.
    if (starts) StartFetch();
    return attempted;
  }

  void StartFetch() {
    auto fetched = std::make_shared<std::vector<T>>();
    catalog_.Submit(
        [state = state_, fetched](Transaction& transaction) -> absl::Status {
          ASSIGN_OR_RETURN(*fetched, state->fetch(transaction));
          return absl::OkStatus();
        },
        [state = state_, fetched](const absl::Status& result) {
          MutexLock lock(state->mutex);
          if (result.ok()) {
            for (T& thing : *fetched) state->left.push_back(std::move(thing));
          }
          state->fetching = false;
          ++state->fetches;
          state->last_error = result;
          state->fetched.NotifyAll();
        });
  }

  Catalog& catalog_;
  const std::shared_ptr<State> state_;
};

}  // namespace backup::storage
