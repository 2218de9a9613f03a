"""The origin's order, and the ways to take an order's stock that it compares. Its faults are kept."""

from decimal import Decimal

from django.db import transaction
from django.utils import timezone
from django_redis import get_redis_connection

from shop.models import OrderGoods, OrderInfo, SKU


class InsufficientStock(Exception):
    pass


def take_naively(sku_id, count):
    """Read, subtract, save: two buyers at once both succeed."""
    sku = SKU.objects.get(id=sku_id)
    if count > sku.stock:
        raise InsufficientStock
    sku.stock -= count
    sku.sales += count
    sku.save()
    return sku


def take_optimistically(sku_id, count):
    """Compare and set, read again if somebody else was faster. It never gives up."""
    while True:
        sku = SKU.objects.get(id=sku_id)
        stock, sales = sku.stock, sku.sales
        if count > stock:
            raise InsufficientStock
        updated = SKU.objects.filter(id=sku_id, stock=stock).update(stock=stock - count, sales=sales + count)
        if updated:
            return sku


def take_pessimistically(sku_id, count):
    """Lock the row first, so that others wait."""
    sku = SKU.objects.select_for_update().get(id=sku_id)
    if count > sku.stock:
        raise InsufficientStock
    sku.stock -= count
    sku.sales += count
    sku.save()
    return sku


TAKE = {
    "naive": take_naively,
    "optimistic": take_optimistically,
    "pessimistic": take_pessimistically,
    # One worker places all orders, so nothing has to be kept apart.
    "queue": take_naively,
}


def place(cure, user_id, address_id, pay_method):
    """Orders the selected lines of the user's cart; the answer of the view."""
    take = TAKE[cure]
    order_id = timezone.now().strftime("%Y%m%d%H%M%S") + "%09d" % user_id
    with transaction.atomic():
        save_id = transaction.savepoint()
        alipay = pay_method == OrderInfo.PayMethod.ALIPAY
        order = OrderInfo.objects.create(
            order_id=order_id,
            user_id=user_id,
            address_id=address_id,
            total_count=0,
            total_amount=Decimal(0),
            freight=Decimal(10.00),
            pay_method=pay_method,
            status=OrderInfo.Status.UNPAID if alipay else OrderInfo.Status.TO_SHIP,
        )
        redis = get_redis_connection("carts")
        counts = redis.hgetall(f"carts_{user_id}")
        selected = redis.smembers(f"selected_{user_id}")
        cart = {int(sku_id): int(counts[sku_id]) for sku_id in selected}
        for sku_id in cart.keys():
            count = cart[sku_id]
            try:
                sku = take(sku_id, count)
            except InsufficientStock:
                transaction.savepoint_rollback(save_id)
                return {"code": 4005, "errmsg": "insufficient stock"}
            sku.spu.sales += count
            sku.spu.save()
            OrderGoods.objects.create(order=order, sku=sku, count=count, price=sku.price)
            order.total_count += count
            order.total_amount += count * sku.price
        order.total_amount += order.freight
        order.save()
        transaction.savepoint_commit(save_id)
    pipeline = redis.pipeline()
    pipeline.hdel(f"carts_{user_id}", *cart.keys())
    pipeline.srem(f"selected_{user_id}", *cart.keys())
    pipeline.execute()
    return {"code": 0, "errmsg": "the order is placed", "order_id": order_id}
