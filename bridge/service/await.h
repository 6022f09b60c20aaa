#pragma once

#include <future>
#include <memory>
#include <utility>

namespace backup::bridge {

// Calls `start` with a function that takes one T, on any thread and at any time; waits for that
// and returns it. For threads that may block: `start` sees to it that the function is called.
template <typename T, typename Start>
T Await(const Start& start) {
  // Shared, because whoever sets it may not be done with it when it is there.
  const auto result = std::make_shared<std::promise<T>>();
  start([result](T value) { result->set_value(std::move(value)); });
  return result->get_future().get();
}

}  // namespace backup::bridge
