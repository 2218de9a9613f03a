"""The queue: every order is a Celery task, and one worker places them one by one."""

import json
import os
import uuid

import django
from celery import Celery
from django.conf import settings
from django_redis import get_redis_connection

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

app = Celery("shop")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.task_ignore_result = True
app.conf.broker_pool_limit = None
app.conf.worker_prefetch_multiplier = 64

REPLY_TIMEOUT_S = 30


@app.on_after_finalize.connect
def set_up(sender, **_):
    django.setup()


@app.task
def place_order(user_id, address_id, pay_method, reply):
    from shop.orders import place

    answer = place("queue", user_id, address_id, pay_method)
    pipeline = get_redis_connection("replies").pipeline()
    pipeline.rpush(reply, json.dumps(answer))
    pipeline.expire(reply, REPLY_TIMEOUT_S)
    pipeline.execute()


def place_in_turn(user_id, address_id, pay_method):
    """Waits for the worker's answer in a list of its own: threads may, which they may not with Celery's results."""
    reply = f"reply_{uuid.uuid4()}"
    place_order.delay(user_id, address_id, pay_method, reply)
    answer = get_redis_connection("replies").blpop(reply, timeout=REPLY_TIMEOUT_S)
    if answer is None:
        return {"code": 5003, "errmsg": f"no answer of the queue in {REPLY_TIMEOUT_S} s"}
    return json.loads(answer[1])
